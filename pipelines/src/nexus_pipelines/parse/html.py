"""HTML by selectolax: what a reader sees, block by block, without scripts and navigation."""

import re
from typing import Any

from nexus_pipelines.parse.cleaning import fit, label
from nexus_pipelines.parse.document import Parsed, ParseLimits
from nexus_pipelines.parse.encoding import decode
from nexus_pipelines.parse.writing import Writer

_HIDDEN = frozenset(
    """
    script style noscript template svg math iframe object embed canvas video audio map nav
    select button input textarea datalist dialog head
    """.split()  # noqa: SIM905 - read as words, not as a column
)
_BLOCKS = frozenset(
    """
    address article aside blockquote body center dd details dialog div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main ol
    p pre section summary table tbody td tfoot th thead tr ul caption
    """.split()  # noqa: SIM905 - read as words, not as a column
)
_TIGHT = frozenset(["li", "dt", "dd", "tr"])
_CELLS = frozenset(("td", "th"))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
# Stands for <br> until the white space of the source is folded; `fit` leaves none in a text.
_BREAK = "\v"
_LINE_ENDS = re.compile(f" *{_BREAK} *")


def parse_html(data: bytes, limits: ParseLimits) -> Parsed:
    """Read the visible text of a page, however deep its elements nest.

    Raises:
        ParseFailure: UnsupportedFormat (binary), TooLarge.
    """
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    source = fit(decode(data, html=True))
    try:
        tree = LexborHTMLParser(source)
    except SelectolaxError as error:
        # By HTML's own rules any text is a page: a parser that stops has run out of memory.
        raise MemoryError from error
    page = _Page(limits)
    if tree.body is not None:
        page.read(tree.body)
    named = tree.css_first("head > title")
    return Parsed(
        format="html",
        text=page.writer.text(),
        title=label(named.text() if named is not None else "") or page.writer.trail.first,
        sections=tuple(page.writer.trail.sections),
    )


class _Page:
    """Walks the tree without recursion, so depth costs nothing."""

    def __init__(self, limits: ParseLimits) -> None:
        self.writer = Writer(limits.max_characters)
        self._line: list[str] = []
        self._preformatted = self._cells = 0
        self._heading: int | None = None
        self._gap = "\n\n"

    def read(self, root: Any) -> None:
        """Write everything visible below a node."""
        # Entries are (node, leaving): a node is put back to be left after its children.
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            node, leaving = stack.pop()
            tag = node.tag or ""
            if leaving:
                self._leave(tag)
                continue
            following = node.next if node.mem_id != root.mem_id else None
            if following is not None:
                stack.append((following, False))
            if tag == "-text":
                self._line.append(node.text_content or "")
            elif tag in _HIDDEN or tag.startswith(("-", "!", "_")) or "hidden" in node.attrs:
                continue
            else:
                self._enter(tag)
                stack.append((node, True))
                if (child := node.first_child) is not None:
                    stack.append((child, False))
        self._flush()

    def _enter(self, tag: str) -> None:
        if tag == "br":
            self._line.append(_BREAK)
        elif tag in _CELLS:
            self._cells += 1
            if any(part.strip() for part in self._line):
                self._line.append(" | ")
        elif tag in _HEADINGS:
            self._flush()
            self._gap, self._heading = "\n\n", _HEADINGS[tag]
        elif tag in _BLOCKS:
            self._part(tag)
            if tag == "pre":
                self._preformatted += 1
            elif tag == "li":
                self._line.append("- ")

    def _leave(self, tag: str) -> None:
        if tag in _CELLS:
            self._cells -= 1
            while self._line and not self._line[-1].strip():
                self._line.pop()
        elif tag in _HEADINGS:
            self._flush()
            self._gap, self._heading = "\n\n", None
        elif tag in _BLOCKS:
            self._part(tag)
            if tag == "pre":
                self._preformatted -= 1

    def _part(self, tag: str) -> None:
        """End what was before a block; inside a table's cell a block is only a new line."""
        if self._cells and tag not in {"table", "tr"}:
            if any(part.strip() for part in self._line[-1:]):
                self._line.append(_BREAK)
            return
        self._flush()
        if tag not in _TIGHT:
            self._gap = "\n\n"

    def _flush(self) -> None:
        text = "".join(self._line)
        self._line.clear()
        if not text.strip(" -|\n\t\r\f\xa0\v"):
            return
        if self._preformatted:
            text = text.replace("\r\n", "\n").replace(_BREAK, "\n").strip("\n")
        else:
            text = _LINE_ENDS.sub("\n", _SPACES.sub(" ", text)).strip()
        if self._heading is not None:
            self.writer.heading(" ".join(text.split()), self._heading)
        else:
            self.writer.block(text, gap=self._gap)
        # A list's items and a table's rows follow close upon each other.
        self._gap = "\n"
