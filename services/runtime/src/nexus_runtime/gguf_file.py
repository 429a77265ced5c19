"""The head of a GGUF file: what it says about the model, and where each tensor lies."""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_models.gguf_reader import DAMAGED, GgufReader
from nexus_runtime.errors import BadGguf

ALIGNMENT = 32
"""Where a file does not say otherwise by `general.alignment`."""

_MAX_DIMS = 4


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: `shape` has the row length first, `offset` counts from the data's start."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class GgufHead:
    """Everything before the tensors' data.

    Attributes:
        values: scalar and string metadata by key; arrays are left out (vocabularies are long).
        metadata: the same as bytes, arrays included: `pairs` entries, from the file as they are.
        context_length: the longest that the model was trained for; None where the file is silent.
        data: where the tensors' data begins in the file.
    """

    version: int
    pairs: int
    values: dict[str, Any]
    metadata: bytes
    tensors: tuple[TensorInfo, ...]
    context_length: int | None
    alignment: int
    data: int

    @property
    def architecture(self) -> str:
        """The model family, as llama.cpp names it."""
        return _architecture(self.values)


def read_head(path: Path) -> GgufHead:
    """Read the head of a GGUF file.

    Raises:
        BadGguf: it is no GGUF file, of an unknown version, or cut short.
    """
    with path.open("rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _head(content)
        except DAMAGED as error:
            raise BadGguf(f"{path}: not a whole GGUF file: {error}") from error


def _head(content: mmap.mmap) -> GgufHead:
    reader = GgufReader(content)
    version, count, pairs = reader.opening()
    begin = reader.position
    values = {key: value for key, value in reader.pairs(pairs) if value is not None}
    metadata = content[begin : reader.position]
    tensors = tuple(_tensor(reader) for _ in range(count))
    context = _whole(values, f"{_architecture(values)}.context_length")
    alignment = _whole(values, "general.alignment") or ALIGNMENT
    if alignment.bit_count() != 1:
        raise ValueError(f"general.alignment is {alignment}, which is no power of two")
    data = math.ceil(reader.position / alignment) * alignment
    return GgufHead(version, pairs, values, metadata, tensors, context, alignment, data)


def _architecture(values: dict[str, Any]) -> str:
    return str(values.get("general.architecture", ""))


def _whole(values: dict[str, Any], key: str) -> int | None:
    value = values.get(key)
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{key} is {value!r}, which is no whole number above zero")
    return value


def _tensor(reader: GgufReader) -> TensorInfo:
    name, dims = reader.string(), reader.scalar("I")
    if not 1 <= dims <= _MAX_DIMS:
        raise ValueError(f"tensor {name} has {dims} dimensions")
    shape = tuple(reader.scalar("Q") for _ in range(dims))
    return TensorInfo(name, shape, reader.scalar("I"), reader.scalar("Q"))
