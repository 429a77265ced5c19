"""Streams from and to S3: reading on after a broken connection, uploads of an announced size."""

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, cast

from urllib3.exceptions import HTTPError, ProtocolError

from nexus_knowledge.errors import ObjectError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse

Headers = dict[str, str | list[str] | tuple[str]]
Get = Callable[[int, Headers], "BaseHTTPResponse"]
"""Asks for an object from a byte on, with headers."""

_BUFFER = 1 << 20
_BREAKS = 3  # broken connections that one reading survives


class Announced:
    """What is uploaded; its end is an error when it is not where it was announced."""

    def __init__(self, data: BinaryIO, *, key: str, size: int | None) -> None:
        self._data, self._key, self._size = data, key, size
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        """Read on.  Raises ``ObjectError``, which ends the upload without a trace."""
        try:
            block = self._data.read(size)
        except OSError as error:
            raise ObjectError(f"object {self._key!r}: what is to be stored broke off") from error
        self._read += len(block)
        wrong = self._read > (self._size or 0) if block else self._read != self._size
        if self._size is not None and wrong and size != 0:
            raise ObjectError(
                f"object {self._key!r}: {self._read} bytes came, {self._size} were announced"
            )
        return block


def open_reader(get: Get, errors: Callable[[], AbstractContextManager[None]]) -> BinaryIO:
    """Begin to read an object; ``errors`` is entered around everything that may fail."""
    return cast(BinaryIO, io.BufferedReader(_Reader(get, errors), _BUFFER))


class _Reader(io.RawIOBase):
    def __init__(self, get: Get, errors: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._get, self._errors = get, errors
        self._response = get(0, {})
        self._etag = self._response.headers.get("etag", "")
        self._size = int(self._response.headers.get("content-length", 0))
        self._at, self._breaks = 0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not len(view):
            return 0
        with self._errors():
            block = self._block(len(view))
        view[: len(block)] = block
        self._at += len(block)
        return len(block)

    def _block(self, size: int) -> bytes:
        while True:
            try:
                block = self._response.read(size)
                if not block:
                    raise ProtocolError("the answer ended early")
            except (HTTPError, OSError):
                self._breaks += 1
                if self._breaks > _BREAKS:
                    raise
            else:
                return block
            self._release()
            self._response = self._get(self._at, {"If-Match": self._etag})

    def _release(self) -> None:
        self._response.close()
        self._response.release_conn()

    def close(self) -> None:
        if not self.closed:
            self._release()
        super().close()
