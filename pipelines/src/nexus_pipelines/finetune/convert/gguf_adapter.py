"""The GGUF file of an adapter, made for one base model.

llama.cpp adds `alpha / r * B A` with one alpha for the file, so what a module's scale differs by
is multiplied into its B.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nexus_pipelines.finetune.convert.errors import AdapterUnusable
from nexus_pipelines.finetune.convert.llama import ARCHITECTURE, Heads, gguf_name, reordered
from nexus_pipelines.finetune.convert.peft_adapter import LowRank, PeftAdapter, read_adapter
from nexus_pipelines.finetune.convert.safetensors_file import Array


@dataclass(frozen=True)
class Base:
    """What of a base model's GGUF an adapter must fit.

    Attributes:
        shapes: (out, in) of its matrices by name.
    """

    architecture: str
    heads: Heads
    shapes: Mapping[str, tuple[int, int]]


def convert(adapter: Path, base: Path, target: Path) -> None:
    """Write an adapter of PEFT's form as GGUF, all of it or nothing.

    Args:
        adapter: the folder with adapter_model.safetensors and adapter_config.json.
        base: the GGUF file of the base model that will serve it.
        target: the file to write.

    Raises:
        AdapterUnusable: the adapter is damaged, changes nothing, does not fit the base, or is of
            a form that llama.cpp cannot apply.
    """
    source = read_adapter(adapter)
    tensors = gguf_tensors(source, read_base(base))
    partial = target.with_name(f".{target.name}.partial")
    _write(partial, source.alpha, tensors)
    partial.replace(target)


def gguf_tensors(adapter: PeftAdapter, base: Base) -> dict[str, Array]:
    """Return the tensors of the file by name, in its order.  Pure.  Raises as `convert`."""
    if base.architecture != ARCHITECTURE:
        raise AdapterUnusable(
            f"the base model is of the family {base.architecture!r}: adapters for llama.cpp are "
            f"made for {ARCHITECTURE!r} only; serve it by vllm"
        )
    tensors: dict[str, Array] = {}
    for module, change in adapter.modules.items():
        name = gguf_name(module)
        _check_fit(module, change, base.shapes.get(name))
        rank = change.a.shape[0]
        factor = np.float32(change.scale / (adapter.alpha / rank))
        tensors[f"{name}.lora_a"] = change.a
        tensors[f"{name}.lora_b"] = reordered(name, change.b, base.heads) * factor
    return tensors


def read_base(path: Path) -> Base:
    """Read what adapters must fit from a base model's GGUF.

    Raises:
        AdapterUnusable: it is no GGUF file, or says nothing of its heads.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        queries = reader.fields[f"{architecture}.attention.head_count"].contents()
        grouped = reader.fields.get(f"{architecture}.attention.head_count_kv")
        keys = queries if grouped is None else grouped.contents()
        heads = Heads(int(queries), int(keys))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise AdapterUnusable(f"the base model {path.name} cannot be read: {error!r}") from error
    return Base(architecture, heads, dict(_matrices(reader.tensors)))


def _matrices(tensors: Iterable[object]) -> Iterable[tuple[str, tuple[int, int]]]:
    for tensor in tensors:
        shape = [int(size) for size in tensor.shape]  # type: ignore[attr-defined]
        if len(shape) == 2:  # noqa: PLR2004 - a matrix; GGUF names the length of a row first
            yield str(tensor.name), (shape[1], shape[0])  # type: ignore[attr-defined]


def _check_fit(module: str, change: LowRank, shape: tuple[int, int] | None) -> None:
    has = (change.b.shape[0], change.a.shape[1])
    if shape is None:
        raise AdapterUnusable(f"the base model has no module {module}: another base was trained")
    if shape != has:
        raise AdapterUnusable(
            f"module {module} is {shape[0]} x {shape[1]} in the base model, and the adapter was "
            f"made for {has[0]} x {has[1]}: another base was trained"
        )


def _write(path: Path, alpha: float, tensors: Mapping[str, Array]) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, ARCHITECTURE)
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for name, tensor in tensors.items():
            writer.add_tensor(name, np.ascontiguousarray(tensor, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
