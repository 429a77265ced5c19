"""Decode text files whose encoding nobody stated."""

import codecs
import re

from nexus_pipelines.parse.document import ParseFailure, Reason

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 4096
_META = re.compile(
    rb"""<meta[^>]{0,256}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE
)
_ASCII = bytes(range(0x20, 0x7F))
_CONTROL = bytes(set(range(32)) - {0x09, 0x0A, 0x0C, 0x0D, 0x1B})
_MAX_CONTROL = 0.02


def decode(data: bytes, *, html: bool = False) -> str:
    """Decode by byte order mark, then `<meta charset>` (HTML), UTF-16 pattern, UTF-8, Latin-1.

    Raises:
        ParseFailure: UnsupportedFormat when the bytes are not text at all.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, errors="replace")
    wide = _utf16_without_mark(data)
    if wide:
        return data.decode(wide, errors="replace")
    if looks_binary(data):
        raise ParseFailure(
            Reason.UNSUPPORTED_FORMAT,
            "binary and of no known format; PDF, DOCX, HTML, Markdown and text are read",
        )
    if html and (named := _declared(data)):
        return data.decode(named, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # A file cut in mid-character, or with a few damaged bytes, is still UTF-8.
        if _mostly_utf8(data, error):
            return data.decode("utf-8", errors="replace")
    # cp1252 is what "Latin-1" files hold in practice; its five holes fall back byte by byte.
    return data.decode("cp1252", errors="replace")


def looks_binary(data: bytes) -> bool:
    """Tell by the share of control bytes in the beginning (utf-16 must be ruled out before)."""
    sample = data[:_SAMPLE]
    if not sample:
        return False
    control = len(sample) - len(sample.translate(None, _CONTROL))
    # A stray NUL or two happens in real text files; a steady rate of them does not.
    return control > max(2, len(sample) * _MAX_CONTROL)


def _utf16_without_mark(data: bytes) -> str | None:
    sample = data[: _SAMPLE & ~1]
    if len(sample) < 4 or len(data) % 2:  # noqa: PLR2004  two characters at least
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > half * 0.4 and even < half * 0.1:
        return "utf-16-le"
    if even > half * 0.4 and odd < half * 0.1:
        return "utf-16-be"
    return None


def _declared(data: bytes) -> str | None:
    found = _META.search(data[:2048])
    if found is None:
        return None
    name = found[1].decode("ascii")
    try:
        # Keeps out codecs that are no encoding of text (zlib, hex) or not a superset of ASCII,
        # which the bytes of the `<meta>` element itself contradict.
        same = _ASCII.decode(name, errors="replace") == _ASCII.decode("ascii")
    except (LookupError, UnicodeError):
        return None
    return name if same else None


def _mostly_utf8(data: bytes, error: UnicodeDecodeError) -> bool:
    sample = data[max(0, error.start - _SAMPLE) : error.start + _SAMPLE]
    text = sample.decode("utf-8", errors="replace")
    multibyte = sum(1 for c in text if ord(c) > 0x7F and c != "\ufffd")  # noqa: PLR2004  ASCII
    return multibyte > text.count("\ufffd")
