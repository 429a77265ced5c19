"""The base model: fetched, made into safetensors when it is a GGUF, opened without any code of it.

Only *.safetensors are read; pickled weights are never opened and code of a repository never runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_models import (
    Cache,
    Licence,
    ModelError,
    ModelFiles,
    ModelFormat,
    fetch,
    named_licence,
)
from nexus_pipelines.finetune.train.errors import BaseUnusable, readable_failures
from nexus_pipelines.finetune.train.quantized import loading

_CONVERTED = "safetensors-1"
"""Folder of what is made from a GGUF; its number rises when the making changes."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Base:
    """A base model on this machine: where transformers finds it, and the digest of its source.

    licence: the one that its source's files name; None for none.
    """

    folder: Path
    digest: str
    uri: str
    revision: str
    licence: Licence | None = None

    def tokenizer(self) -> Any:
        """Open its tokenizer.

        Raises:
            BaseUnusable: it has none, or none with a chat template.
        """
        from transformers import AutoTokenizer

        with _opening(self.uri, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        if not getattr(tokenizer, "chat_template", None):
            raise BaseUnusable(
                f"{self.uri}: the base model has no chat template; use an instruction-tuned model, "
                "or add chat_template.jinja to its folder"
            )
        return tokenizer

    def model(
        self, *, dtype: Any, attention: str, quantization: str = "asIs", where: str = "cpu"
    ) -> Any:
        """Open the model for training: on `where`, in `dtype`, with the attention registered so.

        `quantization`: what its weights are kept as, asIs or NF4.

        Raises:
            BaseUnusable: it cannot be opened, or is no causal language model.
            LibraryMissing: what quantises it is not installed.
        """
        from transformers import AutoModelForCausalLM

        with readable_failures():
            options = loading(quantization, dtype=dtype, where=where)
        with _opening(self.uri, "model"):
            model = AutoModelForCausalLM.from_pretrained(
                self.folder,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                **options,
            )
        return model if options else model.to(where)


def open_base(uri: str, *, revision: str, cache: Path, say: Say) -> Base:
    """Bring the base model onto this machine.

    Args:
        uri: its address: safetensors, or one GGUF file.
        revision: revision of a hf:// model.
        cache: directory of fetched models; a GGUF's safetensors are kept there by its digest.
        say: told what takes long.

    Raises:
        ModelError: it cannot be fetched, or its bytes changed.
        BaseUnusable: its format cannot be tuned.
    """
    files = fetch(uri, cache=cache, revision=revision, progress=say)
    if files.format is ModelFormat.SAFETENSORS:
        return Base(files.dir, files.digest, uri, revision, named_licence(files))
    if files.format is not ModelFormat.GGUF or len(files.weights) != 1:
        names = ", ".join(path.name for path in files.weights)
        raise BaseUnusable(
            f"{uri}: {names} cannot be tuned; name a folder with safetensors, or one GGUF file"
        )

    def build(draft: Path) -> None:
        say(f"making safetensors from {files.weights[0].name}, once")
        _convert(uri, files, draft)

    folder = Cache(cache).derived(files.digest, _CONVERTED, build)
    return Base(folder, files.digest, uri, revision, named_licence(files))


def _convert(uri: str, files: ModelFiles, draft: Path) -> None:
    """Write a GGUF's weights, dequantised, and its tokenizer with the chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = files.weights[0]
    with _opening(uri, "model"):
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, trust_remote_code=False
        )
    if all(kind == "F32" for kind in _tensor_kinds(file)):
        model.to(torch.float32)
    else:
        # Finer than any quantised weight; half the bytes of float32.
        model.to(torch.bfloat16)
    with readable_failures():
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)


def _tensor_kinds(file: Path) -> Iterator[str]:
    from gguf import GGUFReader

    for tensor in GGUFReader(file).tensors:
        yield tensor.tensor_type.name


@contextmanager
def _opening(uri: str, what: str) -> Iterator[None]:
    """Turn whatever transformers says about a bad folder into one line."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with readable_failures():
        try:
            yield
        except (ModelError, MemoryError):
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BaseUnusable(f"{uri}: the {what} cannot be opened: {first[:300]}") from error
