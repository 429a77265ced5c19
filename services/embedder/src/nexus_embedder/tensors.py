"""Where each tensor lies in a safetensors file, so that it can be mapped instead of read."""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_embedder.errors import UnsupportedModel

_HEADER_LIMIT = 100 << 20
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}


@dataclass(frozen=True)
class Tensor:
    """One tensor: its type as safetensors writes it, its shape, and its place in a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    length: int


def tensors_in(files: Iterable[Path]) -> dict[str, Tensor]:
    """Read the headers of safetensors files.

    Raises:
        UnsupportedModel: a header is broken, or a tensor lies outside of its file.
    """
    return {tensor.name: tensor for path in files for tensor in _header(path)}


def _header(path: Path) -> list[Tensor]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        (length,) = struct.unpack("<Q", start) if len(start) == 8 else (size,)  # noqa: PLR2004
        if length > min(_HEADER_LIMIT, size):
            raise UnsupportedModel(f"{path}: this is no safetensors file, or a part of one")
        try:
            header = json.loads(stream.read(length))
            found = [
                _tensor(path, name, entry, 8 + length)
                for name, entry in header.items()
                if name != "__metadata__"
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnsupportedModel(f"{path}: its header cannot be read: {error}") from error
    for tensor in found:
        if tensor.offset + tensor.length > size:
            raise UnsupportedModel(f"{path}: {tensor.name} lies beyond its end; it is incomplete")
    return found


def _tensor(path: Path, name: str, entry: Any, base: int) -> Tensor:
    dtype, shape = str(entry["dtype"]), tuple(int(extent) for extent in entry["shape"])
    begin, end = (int(offset) for offset in entry["data_offsets"])
    if begin < 0 or end - begin != math.prod(shape) * _BYTES[dtype]:
        raise ValueError(f"{name} of shape {shape} does not fill its {end - begin} bytes")
    return Tensor(name, dtype, shape, path, base + begin, end - begin)
