"""DOCX by python-docx: paragraphs, headings and tables in reading order.

The container is judged before it is opened: declared sizes bound what can unfold (zipfile never
reads past them), and a DOCTYPE in any XML part is refused, so no entity is ever expanded.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from nexus_pipelines.parse.cleaning import fit, label
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason
from nexus_pipelines.parse.writing import Writer

_MAX_MEMBERS = 10_000
_MAX_RATIO = 200
_RATIO_APPLIES_FROM = 4 * 1024**2
_MAX_INFLATED = 512 * 1024**2
_MAX_TABLE_DEPTH = 8
_PROLOG = 64 * 1024
_HEADING_LEVELS = 9


def parse_docx(data: bytes, limits: ParseLimits) -> Parsed:
    """Read a DOCX's text.

    Raises:
        ParseFailure: Corrupt, TooLarge (it unfolds to too much), UnsupportedFormat (a DOCTYPE).
    """
    import docx
    from docx.opc.exceptions import OpcError

    _judge_container(data, limits)
    try:
        document = docx.Document(io.BytesIO(data))
        writer = Writer(limits.max_characters)
        levels = _heading_levels(document)
        for kind, item in _blocks(document):
            if kind == "p":
                _write_paragraph(writer, item, levels)
            else:
                writer.block("\n".join(_rows(item, depth=0)))
        title = label(document.core_properties.title or "")
    except (
        OpcError,
        KeyError,
        ValueError,
        AttributeError,
        IndexError,
        TypeError,
        SyntaxError,
    ) as error:
        # python-docx meets damaged XML with whatever its own code trips over; lxml's
        # XMLSyntaxError is a SyntaxError.
        raise ParseFailure(Reason.CORRUPT, f"the DOCX is damaged: {label(str(error))}") from error
    return Parsed(
        format="docx",
        text=writer.text(),
        title=title or writer.trail.first,
        sections=tuple(writer.trail.sections),
    )


def _judge_container(data: bytes, limits: ParseLimits) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _judge_sizes(members, limits)
            for member in members:
                if member.filename.endswith((".xml", ".rels")):
                    _refuse_doctype(archive, member)
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, EOFError) as error:
        raise ParseFailure(
            Reason.CORRUPT, f"a damaged ZIP container: {label(str(error))}"
        ) from error


def _judge_sizes(members: list[zipfile.ZipInfo], limits: ParseLimits) -> None:
    if len(members) > _MAX_MEMBERS:
        raise ParseFailure(Reason.TOO_LARGE, f"the DOCX holds {len(members):,} parts")
    if any(member.flag_bits & 0x1 for member in members):
        raise ParseFailure(Reason.ENCRYPTED, "parts of the DOCX are encrypted")
    inflated = sum(member.file_size for member in members)
    allowed = min(_MAX_INFLATED, limits.max_memory // 2)
    if inflated > allowed:
        raise ParseFailure(
            Reason.TOO_LARGE, f"the DOCX unfolds to {inflated:,} bytes; {allowed:,} are allowed"
        )
    for member in members:
        if member.file_size > _RATIO_APPLIES_FROM and member.file_size > _MAX_RATIO * max(
            1, member.compress_size
        ):
            raise ParseFailure(
                Reason.TOO_LARGE,
                f"part {label(member.filename)!r} of the DOCX unfolds over {_MAX_RATIO} times",
            )


class _PrologRead(Exception):
    pass


def _refuse_doctype(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Read a part's prolog with a real XML parser, which no encoding can hide a DOCTYPE from."""
    parser = expat.ParserCreate()

    def doctype(*_: object) -> None:
        raise ParseFailure(
            Reason.UNSUPPORTED_FORMAT,
            f"part {label(member.filename)!r} of the DOCX has a DOCTYPE, which no Word file needs",
        )

    def element(*_: object) -> None:
        raise _PrologRead

    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = element
    try:
        with archive.open(member) as part:
            while block := part.read(_PROLOG):
                parser.Parse(block, False)
    except _PrologRead:
        return
    except expat.ExpatError as error:
        raise ParseFailure(
            Reason.CORRUPT, f"part {label(member.filename)!r} of the DOCX is no XML: {error}"
        ) from error


def _heading_levels(document: Any) -> dict[str, int]:
    """Map style ids to heading levels; styles built on a heading count as that heading."""
    from docx.enum.style import WD_STYLE_TYPE

    levels: dict[str, int] = {}
    for style in document.styles:
        if style.type != WD_STYLE_TYPE.PARAGRAPH:
            continue
        base = style
        for _ in range(_HEADING_LEVELS):
            level = _level_of(base.name or "")
            if level is not None:
                levels[style.style_id] = level
                break
            base = base.base_style
            if base is None:
                break
    return levels


def _level_of(name: str) -> int | None:
    if name == "Title":
        return 0
    kind, _, number = name.partition(" ")
    if kind.lower() == "heading" and number.isdecimal() and 1 <= int(number) <= _HEADING_LEVELS:
        return int(number)
    return None


def _blocks(container: Any) -> Iterator[tuple[str, Any]]:
    from docx.table import Table

    for item in container.iter_inner_content():
        yield ("t" if isinstance(item, Table) else "p"), item


def _write_paragraph(writer: Writer, paragraph: Any, levels: dict[str, int]) -> None:
    text = fit(paragraph.text).strip()
    properties = paragraph._p.pPr  # noqa: SLF001  the style's id without a look-up by name
    style = properties.style if properties is not None else None
    level = levels.get(style) if style is not None else None
    if level is not None:
        writer.heading(text, level)
    elif properties is not None and properties.numPr is not None:
        writer.block(f"- {text}" if text else "", gap="\n")
    else:
        writer.block(text)


def _rows(table: Any, *, depth: int) -> Iterator[str]:
    for row in table.rows:
        seen: set[Any] = set()
        cells: list[str] = []
        for cell in row.cells:
            # A merged cell shows up once for each column it spans.
            if cell._tc in seen:  # noqa: SLF001  python-docx has no other identity of a cell
                continue
            seen.add(cell._tc)  # noqa: SLF001
            cells.append(_cell_text(cell, depth))
        line = " | ".join(cells)
        if line.strip(" |"):
            yield line


def _cell_text(cell: Any, depth: int) -> str:
    parts: list[str] = []
    for kind, item in _blocks(cell):
        if kind == "p":
            parts.append(" ".join(fit(item.text).split()))
        elif depth < _MAX_TABLE_DEPTH:
            parts.extend(_rows(item, depth=depth + 1))
    return " ".join(part for part in parts if part)
