"""From a model's URI to the GGUF file that is loaded."""

import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from nexus_models import Cache, ModelFiles, ModelFormat, fetch, fetch_adapter
from nexus_runtime.errors import UnsupportedGguf
from nexus_runtime.gguf_file import TensorInfo, read_head
from nexus_runtime.requantize import REQUANTIZE_VERSION, WeightType

CONVERT_TIMEOUT = 3600.0  # seconds: 1.5 s for 135M parameters, so some minutes for 8B

_log = logging.getLogger(__name__)


def gguf_for(uri: str, weights: WeightType | None, *, cache: Path, revision: str = "") -> Path:
    """Fetch a model and bring its weights into the wanted number format, once.

    Args:
        uri: the model's address.
        weights: None takes the file as it is.
        cache: the model cache; converted files are kept in it, by digest and format.
        revision: as `nexus_models.fetch` takes it.

    Raises:
        nexus_models.ModelError: the model cannot be had.
        UnsupportedGguf: it is no single GGUF file, or cannot be converted.
    """
    files = fetch(uri, cache=cache, revision=revision, progress=_log.info)
    source = _single(files, uri)
    if weights is None:
        return source

    def build(target: Path) -> None:
        _log.info("converting %s to %s", source.name, weights)
        _convert(source, target, weights)

    name = f"{source.stem}.{weights}-v{REQUANTIZE_VERSION}.gguf"
    return Cache(cache).derived(files.digest, name, build)


def adapter_for(uri: str, base: Path, *, cache: Path, digest: str = "") -> Path:
    """Fetch a LoRA adapter in GGUF and see that it belongs to a base model.

    Args:
        uri: the adapter's address: a folder with `adapter.gguf` in it, or a GGUF file.
        base: the GGUF file of the base model.
        cache: the model cache.
        digest: as `nexus_models.fetch_adapter` takes it.

    Raises:
        nexus_models.ModelError: the adapter cannot be had, or is not the one of the digest.
        UnsupportedGguf: it is no adapter, or one of another base.
        BadGguf: it is damaged.
    """
    files = fetch_adapter(uri, ModelFormat.GGUF, cache=cache, digest=digest, progress=_log.info)
    path = _single(files, uri)
    said, wanted = read_head(path), read_head(base)
    if said.values.get("general.type") != "adapter" or said.values.get("adapter.type") != "lora":
        raise UnsupportedGguf(f"{uri}: {path.name} is no LoRA adapter")
    if said.architecture != wanted.architecture:
        raise UnsupportedGguf(
            f"{uri}: the adapter was made for a base of the family {said.architecture!r}, and "
            f"{base.name} is of {wanted.architecture!r}"
        )
    shapes = {one.name: one.shape for one in wanted.tensors}
    for tensor in said.tensors:
        _check_fit(tensor, shapes, uri)
    return path


def _check_fit(tensor: TensorInfo, shapes: Mapping[str, tuple[int, ...]], uri: str) -> None:
    name, _, side = tensor.name.rpartition(".")
    shape = shapes.get(name, ())
    fits = {"lora_a": tensor.shape[:1] == shape[:1], "lora_b": tensor.shape[1:] == shape[1:]}
    if not shape or not fits.get(side, False):
        raise UnsupportedGguf(
            f"{uri}: the adapter was made for another base model: {tensor.name} "
            f"({' x '.join(map(str, tensor.shape))}) does not fit it"
        )


def _single(files: ModelFiles, uri: str) -> Path:
    if files.format is not ModelFormat.GGUF:
        raise UnsupportedGguf(f"{uri}: llama.cpp reads GGUF, and this model is {files.format}")
    if len(files.weights) > 1:
        names = ", ".join(path.name for path in files.weights)
        raise UnsupportedGguf(f"{uri}: several GGUF files ({names}); name one in the address")
    return files.weights[0]


def _convert(source: Path, target: Path, weights: WeightType) -> None:
    """Convert in a process of its own, whose memory is gone before the model is loaded."""
    command = [sys.executable, "-m", "nexus_runtime.requantize", str(source), str(target), weights]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CONVERT_TIMEOUT, check=False,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnsupportedGguf(
            f"{source}: converting to {weights} took longer than {CONVERT_TIMEOUT:.0f} s"
        ) from error
    if done.returncode != 0:
        raise UnsupportedGguf(f"{source}: converting to {weights} failed: {done.stderr.strip()}")
