"""Which format a file has: its content decides first, its name only among text formats."""

import io
import re
import zipfile
from enum import StrEnum
from pathlib import PurePosixPath

from nexus_pipelines.parse.document import ParseFailure, Reason


class Format(StrEnum):
    """The formats that can be read."""

    PDF = "pdf"
    DOCX = "docx"
    HTML = "html"
    MARKDOWN = "markdown"
    TEXT = "text"


_PDF_HEADER_WITHIN = 1024
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
# Comments before the first element; possessive and each ending at its first "-->", so that a file
# with many of them is read once, however it goes on.
_HTML = re.compile(
    rb"(?:\s|\xef\xbb\xbf)*+(?:<\?xml[^>]{0,200}+>\s*+)?(?:<!--(?:[^-]|-(?!->))*+-->\s*+)*+"
    rb"<(?:!doctype\s+html|html|head|body)[\s>]",
    re.IGNORECASE,
)
_KNOWN_OTHERS = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript file"),
)
_PACKAGES = (
    ("xl/workbook.xml", "an Excel workbook"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("META-INF/container.xml", "an EPUB book"),
    ("content.xml", "an OpenDocument file"),
)
_BY_SUFFIX = {
    ".htm": Format.HTML,
    ".html": Format.HTML,
    ".xhtml": Format.HTML,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".mdown": Format.MARKDOWN,
}
_ADVICE = "PDF, DOCX, HTML, Markdown and text are read"


def sniff(data: bytes, path: str) -> Format:
    """Name the format of a file.

    Raises:
        ParseFailure: UnsupportedFormat, Encrypted (an Office file with a password), Corrupt (the
            name promises PDF or DOCX and the content is neither), Empty.
    """
    if not data:
        raise ParseFailure(Reason.EMPTY, "the file has no bytes")
    suffix = PurePosixPath(path).suffix.lower()
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return Format.PDF
    if data.startswith(b"PK\x03\x04"):
        return _office(data)
    if data.startswith(_OLE):
        if _ENCRYPTED_OFFICE in data:
            raise ParseFailure(Reason.ENCRYPTED, "the Office file is protected by a password")
        raise ParseFailure(
            Reason.UNSUPPORTED_FORMAT, f"an Office file of before 2007; save it as DOCX ({_ADVICE})"
        )
    for magic, name in _KNOWN_OTHERS:
        if data.startswith(magic):
            raise ParseFailure(Reason.UNSUPPORTED_FORMAT, f"{name}; {_ADVICE}")
    if suffix in {".pdf", ".docx"}:
        raise ParseFailure(
            Reason.CORRUPT, f"named {suffix} but the content is no {suffix[1:].upper()}"
        )
    if _HTML.match(data[:4096]):
        return Format.HTML
    return _BY_SUFFIX.get(suffix, Format.TEXT)


def _office(data: bytes) -> Format:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ParseFailure(Reason.CORRUPT, f"a damaged ZIP container: {error}") from error
    if "word/document.xml" in names:
        return Format.DOCX
    for member, name in _PACKAGES:
        if member in names:
            raise ParseFailure(Reason.UNSUPPORTED_FORMAT, f"{name}; {_ADVICE}")
    raise ParseFailure(Reason.UNSUPPORTED_FORMAT, f"a ZIP archive that is no DOCX; {_ADVICE}")
