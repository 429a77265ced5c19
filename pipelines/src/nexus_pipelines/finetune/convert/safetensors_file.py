"""Reading a safetensors file into float32 arrays, without torch.

Format: https://github.com/huggingface/safetensors#format.  Everything that a file says of itself
is checked before it is believed.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_pipelines.finetune.convert.errors import AdapterUnusable

Array = NDArray[np.float32]

_LARGEST_HEAD = 16 << 20
_DAMAGE = (
    struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
_WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}


def read_tensors(path: Path) -> dict[str, Array]:
    """Read all tensors; half precision is widened, which loses nothing.

    Returns:
        float32 arrays by name.

    Raises:
        AdapterUnusable: it is no whole safetensors file of floating point numbers.
    """
    content = path.read_bytes()
    try:
        return _tensors(content)
    except _DAMAGE as error:
        raise AdapterUnusable(f"{path.name} is no whole safetensors file: {error}") from error


def _tensors(content: bytes) -> dict[str, Array]:
    (length,) = struct.unpack_from("<Q", content)
    if length > min(_LARGEST_HEAD, len(content) - 8):
        raise ValueError("its head is longer than the file")
    head = json.loads(content[8 : 8 + length])
    body = memoryview(content)[8 + length :]
    head.pop("__metadata__", None)
    return {name: _tensor(name, entry, body) for name, entry in head.items()}


def _tensor(name: str, entry: dict[str, Any], body: memoryview) -> Array:
    kind, shape = entry["dtype"], [int(size) for size in entry["shape"]]
    begin, end = (int(place) for place in entry["data_offsets"])
    if kind not in _WIDTHS:
        raise ValueError(f"{name} holds {kind}, and only {', '.join(_WIDTHS)} are read")
    if min(shape, default=0) < 0 or math.prod(shape) * _WIDTHS[kind] != end - begin:
        raise ValueError(f"{name} has another size than its shape says")
    if not 0 <= begin <= end <= len(body):
        raise ValueError(f"{name} lies beyond the file's end")
    raw = body[begin:end]
    if kind == "BF16":  # the upper half of a float32
        wide = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    return np.frombuffer(raw, "<f4" if kind == "F32" else "<f2").astype(np.float32).reshape(shape)
