"""PDF by pypdfium2: text by page, sections by the outline."""

import contextlib
from collections.abc import Iterator
from typing import Any

from nexus_pipelines.parse.cleaning import fit, label
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason
from nexus_pipelines.parse.writing import HeadingTrail, too_much_text

_PASSWORD, _SECURITY = 4, 5  # FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY
_MAX_BOOKMARKS = 5000
_MAX_DEPTH = 12
# PDFium marks a hyphen at a line's end by this non-character when the word goes on.
_BROKEN_WORD = ("\ufffe\r\n", "\ufffe\n", "\ufffe")
_PAGE_GAP = "\n\n"


def parse_pdf(data: bytes, limits: ParseLimits) -> Parsed:
    """Read a PDF's text.  Pages that are damaged are left out and counted.

    Raises:
        ParseFailure: Encrypted, Corrupt, TooManyPages, TooLarge.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise _refusal(data, error.err_code) from error
    with document:
        count = len(document)
        if count > limits.max_pages:
            raise ParseFailure(
                Reason.TOO_MANY_PAGES,
                f"the PDF states {count:,} pages; parsing.maxPages allows {limits.max_pages:,}",
            )
        text, pages, unreadable = _read_pages(document, count, limits)
        if unreadable == count:
            raise ParseFailure(Reason.CORRUPT, f"none of the PDF's {count} pages can be read")
        trail = _sections(document, text, pages)
        return Parsed(
            format="pdf",
            text=text,
            title=_title(document) or trail.first,
            pages=tuple(pages),
            sections=tuple(trail.sections),
            unreadable_pages=unreadable,
        )


def _refusal(data: bytes, code: int | None) -> ParseFailure:
    if code == _PASSWORD:
        return ParseFailure(Reason.ENCRYPTED, "the PDF asks for a password; upload it without one")
    if code == _SECURITY or b"/Encrypt" in data:
        return ParseFailure(Reason.ENCRYPTED, "the PDF is encrypted in a way that cannot be read")
    return ParseFailure(Reason.CORRUPT, "the PDF is damaged: its structure cannot be read")


def _read_pages(
    document: Any, count: int, limits: ParseLimits
) -> tuple[str, list[tuple[int, int]], int]:
    parts: list[str] = []
    pages: list[tuple[int, int]] = []
    length = unreadable = 0
    for index in range(count):
        text = _page_text(document, index)
        if text is None:
            unreadable += 1
            text = ""
        if text and length:
            parts.append(_PAGE_GAP)
            length += len(_PAGE_GAP)
        pages.append((length, length + len(text)))
        parts.append(text)
        length += len(text)
        if length > limits.max_characters:
            raise too_much_text(limits.max_characters)
    return "".join(parts), pages, unreadable


def _page_text(document: Any, index: int) -> str | None:
    import pypdfium2

    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return None
    try:
        textpage = page.get_textpage()
        try:
            text: str = textpage.get_text_range()
        finally:
            textpage.close()
    except pypdfium2.PdfiumError:
        return None
    finally:
        page.close()
    for mark in _BROKEN_WORD:
        text = text.replace(mark, "")
    return fit(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _title(document: Any) -> str:
    title = label(document.get_metadata_value("Title"))
    # Word processors leave their own name, or one of these words, where no title was set.
    title = title.removeprefix("Microsoft Word - ")
    return "" if title.lower() in {"untitled", "title"} else title


def _sections(document: Any, text: str, pages: list[tuple[int, int]]) -> HeadingTrail:
    """Place the outline's entries: at their words on the page they point to, else at its top."""
    trail = HeadingTrail()
    place = 0
    for level, title, index in _bookmarks(document):
        if not 0 <= index < len(pages):
            continue
        start, end = pages[index]
        place = max(place, start)
        found = text.find(title, place, end)
        # Sections ascend; an outline that points backwards keeps to where it stands.
        place = found if found >= 0 else place
        if place >= len(text):
            break
        trail.enter(place, level, title)
    return trail


def _bookmarks(document: Any) -> Iterator[tuple[int, str, int]]:
    import pypdfium2

    with contextlib.suppress(pypdfium2.PdfiumError):
        for number, mark in enumerate(document.get_toc(max_depth=_MAX_DEPTH)):
            if number >= _MAX_BOOKMARKS:
                return
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            title = label(mark.get_title())
            if index is not None and title:
                yield mark.level, title, index
