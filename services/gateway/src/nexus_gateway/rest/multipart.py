"""A multipart upload taken apart as it comes in: files to disk, never into memory."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO, cast
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nexus_gateway.errors import BadRequest, TooLarge

MOST_FILES = 1000
MOST_FIELDS = 100
LONGEST_FIELD = 4096
LONGEST_HEADER = 16 * 1024

_PARAMETER = re.compile(
    rb';\s*([\w!#$%&\'+\-.^`|~*]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)', re.DOTALL
)
_ESCAPED = re.compile(rb"%(22|[01][0-9A-Fa-f])")


@dataclass
class UploadedFile:
    """One file of an upload, in an unnamed file on disk, at its beginning."""

    name: str
    data: BinaryIO
    size: int


class Upload:
    """The parts of one multipart request: files of the field `files`, and text fields."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise BadRequest(
                "send the documents as multipart/form-data in the field `files`",
                code="invalid_multipart",
            )
        self.files: list[UploadedFile] = []
        self.fields: dict[str, str] = {}
        self._part: BinaryIO | None = None
        self._field = ""
        self._text = b""
        self._header: tuple[bytes, bytes] = (b"", b"")
        self._header_size = 0
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
        )
        self._complete = False

    async def read(self, stream: AsyncIterator[bytes], limit: int) -> None:
        """Take the whole request, of at most `limit` bytes.  Raises TooLarge, BadRequest."""
        size = 0
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                raise TooLarge(
                    f"the upload is larger than the {limit} bytes that are accepted at a time"
                )
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise BadRequest(
                    f"the multipart body is malformed: {error}", code="invalid_multipart"
                ) from None
        if not self._complete:
            raise BadRequest("the multipart body ends too soon", code="invalid_multipart")

    def close(self) -> None:
        """Give the disk space back."""
        for file in self.files:
            file.data.close()

    # -- callbacks of the parser: slices of the piece at hand ------------------------------

    def _on_part_begin(self) -> None:
        self._part, self._field, self._text, self._disposition = None, "", b"", b""
        self._header_size = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._grow_header(end - start)
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow_header(end - start)
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _grow_header(self, size: int) -> None:
        self._header_size += size
        if self._header_size > LONGEST_HEADER:
            raise BadRequest("a part of the upload has too long a header", code="invalid_multipart")

    def _on_header_end(self) -> None:
        if self._header[0].strip().lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = (b"", b"")

    def _on_headers_finished(self) -> None:
        self._field, name = disposition(self._disposition)
        if name is None:
            return
        if self._field != "files":
            raise BadRequest(
                f"files go into the field `files`, not {self._field!r}", param=self._field
            )
        if len(self.files) >= MOST_FILES:
            raise BadRequest(f"at most {MOST_FILES} files fit one upload", param="files")
        self._part = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed by close()
        self.files.append(UploadedFile(name, self._part, 0))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])
            self.files[-1].size += end - start
            return
        self._text += data[start:end]
        if len(self._text) > LONGEST_FIELD:
            raise BadRequest(f"the field {self._field!r} is too long", param=self._field)

    def _on_part_end(self) -> None:
        if self._part is not None:
            self._part.seek(0)
        elif self._field:
            if len(self.fields) >= MOST_FIELDS:
                raise BadRequest(
                    f"at most {MOST_FIELDS} fields go with an upload", code="invalid_multipart"
                )
            self.fields[self._field] = _text(self._text, f"the field {self._field!r}")

    def _on_end(self) -> None:
        self._complete = True


def disposition(value: bytes) -> tuple[str, str | None]:
    """Return field name and file name (None for a text field) of a Content-Disposition.

    Browsers and clients write `"` and control characters of a file name as %22, %0A ..., other
    clients with a backslash, and again others the whole name as RFC 5987 has it: all are read.
    Raises BadRequest for a name that is not UTF-8.
    """
    found: dict[bytes, bytes] = {}
    for match in _PARAMETER.finditer(value):
        found.setdefault(match[1].lower(), match[2])
    field = _text(_unquoted(found.get(b"name", b"")), "a field's name")
    if extended := found.get(b"filename*"):
        charset, _, rest = extended.partition(b"'")
        if charset.lower() == b"utf-8":
            return field, _text(unquote_to_bytes(rest.partition(b"'")[2]), "a file's name")
    if b"filename" not in found:
        return field, None
    name = _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), _unquoted(found[b"filename"]))
    return field, _text(name, "a file's name")


def _unquoted(value: bytes) -> bytes:
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        return re.sub(rb'\\(["\\])', rb"\1", value[1:-1])
    return value


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{what} is not UTF-8: {value[:80]!r}", code="invalid_path") from None
