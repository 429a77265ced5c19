"""The head of a GGUF file: what it says about the model, and where each tensor lies.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_runtime.errors import BadGguf

MAGIC = b"GGUF"
ALIGNMENT = 32
"""Where a file does not say otherwise by `general.alignment`."""

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
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
        data: where the tensors' data begins in the file.
    """

    version: int
    pairs: int
    values: dict[str, Any]
    metadata: bytes
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data: int

    @property
    def architecture(self) -> str:
        """The model family, as llama.cpp names it."""
        return str(self.values.get("general.architecture", ""))

    @property
    def context_length(self) -> int | None:
        """The longest context that the model was trained for; None where the file is silent."""
        length = self.values.get(f"{self.architecture}.context_length")
        return int(length) if length else None


def read_head(path: Path) -> GgufHead:
    """Read the head of a GGUF file.

    Raises:
        BadGguf: it is no GGUF file, of an unknown version, or cut short.
    """
    with path.open("rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _head(content)
        except (struct.error, ValueError, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise BadGguf(f"{path}: not a whole GGUF file: {error}") from error


def _head(content: mmap.mmap) -> GgufHead:
    if content[:4] != MAGIC:
        raise ValueError("it does not begin with GGUF")
    reader = _Reader(content, 4)
    version = reader.scalar("I")
    if version not in {2, 3}:
        raise ValueError(f"version {version} is not known")
    count, pairs = reader.scalar("Q"), reader.scalar("Q")
    begin = reader.position
    values = {}
    for _ in range(pairs):
        key = reader.string()
        value = reader.value(reader.scalar("I"))
        if value is not None:
            values[key] = value
    metadata = content[begin : reader.position]
    tensors = tuple(reader.tensor() for _ in range(count))
    alignment = int(values.get("general.alignment", ALIGNMENT))
    data = math.ceil(reader.position / alignment) * alignment
    return GgufHead(version, pairs, values, metadata, tensors, alignment, data)


class _Reader:
    """Reads values one after the other; running over the end is a struct.error or ValueError."""

    def __init__(self, content: mmap.mmap, position: int) -> None:
        self._content = content
        self.position = position

    def scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._content, self.position)
        self.position += struct.calcsize(f"<{form}")
        return value

    def string(self) -> str:
        length = self.scalar("Q")
        self._advance(length)
        return self._content[self.position - length : self.position].decode()

    def value(self, kind: int) -> Any:
        """Read a scalar or string; an array is passed over, and None."""
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        element, count = self.scalar("I"), self.scalar("Q")
        if element in _SCALARS:
            self._advance(count * struct.calcsize(f"<{_SCALARS[element]}"))
            return None
        for _ in range(count):
            if element == _STRING:
                self._advance(self.scalar("Q"))
            else:
                self.value(element)
        return None

    def tensor(self) -> TensorInfo:
        name, dims = self.string(), self.scalar("I")
        if not 1 <= dims <= _MAX_DIMS:
            raise ValueError(f"tensor {name} has {dims} dimensions")
        shape = tuple(self.scalar("Q") for _ in range(dims))
        return TensorInfo(name, shape, self.scalar("I"), self.scalar("Q"))

    def _advance(self, length: int) -> None:
        if length > len(self._content) - self.position:
            raise ValueError("it ends in mid-value")
        self.position += length
