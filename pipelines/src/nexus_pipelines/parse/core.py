"""Read one document: find its format, parse it, judge that something is in it.

Pure: bytes in, text out.  What it may cost in time and memory is enforced outside, by the process
that it runs in (`worker`).
"""

from collections.abc import Callable, Mapping

from nexus_pipelines.parse.cleaning import has_content
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason
from nexus_pipelines.parse.docx import parse_docx
from nexus_pipelines.parse.html import parse_html
from nexus_pipelines.parse.markdown import parse_markdown
from nexus_pipelines.parse.pdf import parse_pdf
from nexus_pipelines.parse.plain import parse_text
from nexus_pipelines.parse.sniff import Format, sniff

_PARSERS: Mapping[Format, Callable[[bytes, ParseLimits], Parsed]] = {
    Format.PDF: parse_pdf,
    Format.DOCX: parse_docx,
    Format.HTML: parse_html,
    Format.MARKDOWN: parse_markdown,
    Format.TEXT: parse_text,
}


def parse(data: bytes, path: str, limits: ParseLimits) -> Parsed:
    """Read a document; `path` decides only among text formats.

    Raises:
        ParseFailure: with one of the reasons of `Reason`.
    """
    if len(data) > limits.max_bytes:
        raise too_large(len(data), limits)
    parsed = _PARSERS[sniff(data, path)](data, limits)
    if not has_content(parsed.text):
        raise ParseFailure(Reason.EMPTY, _EMPTY.get(parsed.format, "no text is in the document"))
    return parsed


_EMPTY = {"pdf": "no text is in the PDF; a scan must be read by OCR first"}


def too_large(size: int, limits: ParseLimits) -> ParseFailure:
    """Say that a file is over `parsing.maxFileSize`."""
    return ParseFailure(
        Reason.TOO_LARGE,
        f"the file has {size:,} bytes; parsing.maxFileSize allows {limits.max_bytes:,}",
    )
