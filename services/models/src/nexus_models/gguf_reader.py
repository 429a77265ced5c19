"""The values at the head of a GGUF file, one after the other.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import mmap
import struct
from collections.abc import Iterator
from typing import Any

MAGIC = b"GGUF"
DAMAGED = (struct.error, ValueError, KeyError, RecursionError)
"""What reading raises where a file is no GGUF file, or a damaged or cut one."""

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


class GgufReader:
    """Reads from the beginning of a file; every method may raise one of `DAMAGED`.

    Args:
        content: the file, or its first bytes.
        errors: what becomes of text that is no UTF-8, as `bytes.decode` takes it.
    """

    def __init__(self, content: bytes | mmap.mmap, *, errors: str = "strict") -> None:
        self._content = content
        self._errors = errors
        self.position = 0

    def opening(self) -> tuple[int, int, int]:
        """Read the version and how many tensors and pairs of metadata there are."""
        if self._content[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self.position = len(MAGIC)
        version = self.scalar("I")
        if version not in {2, 3}:
            raise ValueError(f"version {version} is not known")
        return version, self.scalar("Q"), self.scalar("Q")

    def pairs(self, count: int) -> Iterator[tuple[str, Any]]:
        """Read keys with their scalars or strings; an array is passed over, and None."""
        for _ in range(count):
            yield self.string(), self._value(self.scalar("I"))

    def scalar(self, form: str) -> Any:
        """Read a number in a form of `struct`."""
        (value,) = struct.unpack_from(f"<{form}", self._content, self.position)
        self.position += struct.calcsize(f"<{form}")
        return value

    def string(self) -> str:
        """Read a text."""
        length = self.scalar("Q")
        self._advance(length)
        return self._content[self.position - length : self.position].decode(errors=self._errors)

    def _value(self, kind: int) -> Any:
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
                self._value(element)
        return None

    def _advance(self, length: int) -> None:
        if length > len(self._content) - self.position:
            raise ValueError("it ends in mid-value")
        self.position += length
