"""Another number format for the weights of a GGUF file, tensor by tensor.

Run as a program (`python -m nexus_runtime.requantize SOURCE TARGET TYPE`), so that the memory it
takes is gone before the model is loaded.  Metadata is copied byte for byte, except the file type.
"""

import argparse
import math
import mmap
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from nexus_models.gguf_reader import MAGIC
from nexus_runtime.errors import LlamaRuntimeError, UnsupportedGguf
from nexus_runtime.gguf_file import GgufHead, TensorInfo, read_head

REQUANTIZE_VERSION = 1
"""Part of the name under which the result is cached: raise it when the result changes."""

_FILE_TYPE = "general.file_type"
_BLOCK_ELEMENTS = 4 << 20  # elements converted at a time: 16 MiB as float32
_TABLES = ("token_embd.weight", "output.weight")


class WeightType(StrEnum):
    """The number formats that weights can be brought into."""

    F16 = "F16"
    Q8_0 = "Q8_0"
    Q4_0 = "Q4_0"


_LLAMA_FILE_TYPES = {WeightType.F16: 1, WeightType.Q4_0: 2, WeightType.Q8_0: 7}


@dataclass(frozen=True)
class _Step:
    """One tensor of the target: from what to what, and its bytes there."""

    tensor: TensorInfo
    source: Any  # gguf.GGMLQuantizationType
    target: Any
    length: int


def requantize(source: Path, target: Path, weights: WeightType) -> None:
    """Write `source` to `target` with its matrices as `weights`.

    Vectors (norms) stay as they are.  With Q4_0 the embedding and output tables become Q8_0, as
    they cost most quality per bit.

    Raises:
        BadGguf: the source is damaged.
        UnsupportedGguf: a tensor is in a format that cannot be read back.
    """
    head = read_head(source)
    steps = [_plan(tensor, weights) for tensor in head.tensors]
    with source.open("rb") as stream, target.open("wb") as out:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        _write_head(out, head, steps, weights)
        for step in steps:
            for piece in _converted(content, head.data, step):
                out.write(piece)
            _pad(out, head.alignment)


def _plan(tensor: TensorInfo, weights: WeightType) -> _Step:
    from gguf import GGMLQuantizationType as Kind
    from gguf.constants import GGML_QUANT_SIZES

    try:
        source = Kind(tensor.kind)
    except ValueError:
        raise UnsupportedGguf(f"tensor {tensor.name} is of unknown type {tensor.kind}") from None
    target = source
    if len(tensor.shape) > 1:
        wanted = Kind[weights.value]
        if weights is WeightType.Q4_0 and tensor.name in _TABLES:
            wanted = Kind.Q8_0
        fits = tensor.shape[0] % GGML_QUANT_SIZES[wanted][0] == 0
        target = wanted if fits else Kind.F16
    return _Step(tensor, source, target, _bytes(tensor, target))


def _bytes(tensor: TensorInfo, kind: Any) -> int:
    from gguf.constants import GGML_QUANT_SIZES

    elements, size = GGML_QUANT_SIZES[kind]
    return math.prod(tensor.shape) // elements * size


def _write_head(out: BinaryIO, head: GgufHead, steps: Sequence[_Step], weights: WeightType) -> None:
    metadata, pairs = _with_file_type(head, _LLAMA_FILE_TYPES[weights])
    out.write(MAGIC + struct.pack("<IQQ", head.version, len(steps), pairs) + metadata)
    offset = 0
    for step in steps:
        name, shape = step.tensor.name.encode(), step.tensor.shape
        out.write(struct.pack("<Q", len(name)) + name)
        out.write(struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, int(step.target), offset))
        offset += math.ceil(step.length / head.alignment) * head.alignment
    _pad(out, head.alignment)


def _with_file_type(head: GgufHead, number: int) -> tuple[bytes, int]:
    """Set general.file_type in the metadata as bytes; returns them and the number of pairs."""
    key = _FILE_TYPE.encode()
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<I", 4)
    at = head.metadata.find(entry)
    if at < 0:
        return head.metadata + entry + struct.pack("<I", number), head.pairs + 1
    value = at + len(entry)
    return head.metadata[:value] + struct.pack("<I", number) + head.metadata[
        value + 4 :
    ], head.pairs


def _converted(content: mmap.mmap, data: int, step: _Step) -> Iterator[bytes]:
    """Yield the target's bytes of one tensor, some rows at a time."""
    import numpy as np
    from gguf import quants

    begin, length = data + step.tensor.offset, _bytes(step.tensor, step.source)
    if begin + length > len(content):
        raise UnsupportedGguf(f"tensor {step.tensor.name} lies beyond the file's end")
    if step.source == step.target:
        yield content[begin : begin + length]
        return
    rows = math.prod(step.tensor.shape[1:])
    width = length // rows
    at_once = max(1, _BLOCK_ELEMENTS // step.tensor.shape[0])
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        raw = np.frombuffer(content, np.uint8, count * width, begin + first * width)
        try:
            values = quants.dequantize(raw.reshape(count, width), step.source)
            yield np.ascontiguousarray(quants.quantize(values, step.target)).tobytes()
        except NotImplementedError as error:
            raise UnsupportedGguf(
                f"tensor {step.tensor.name} cannot be converted from {step.source.name}: {error}"
            ) from error


def _pad(out: BinaryIO, alignment: int) -> None:
    out.write(bytes(-out.tell() % alignment))


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one file; 0 done, 1 it cannot be done."""
    parser = argparse.ArgumentParser(prog="nexus-requantize", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("weights", type=WeightType, choices=list(WeightType))
    given = parser.parse_args(arguments)
    try:
        requantize(given.source, given.target, given.weights)
    except LlamaRuntimeError as error:
        sys.stderr.write(f"{given.source}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
