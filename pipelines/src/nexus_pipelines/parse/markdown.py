"""Markdown keeps its source as text, so that a citation's offsets hold in the file itself.

markdown-it-py finds the headings: what looks like one inside a code block is none.
"""

import re
from itertools import pairwise

from nexus_pipelines.parse.cleaning import fit, label
from nexus_pipelines.parse.document import Parsed, ParseLimits
from nexus_pipelines.parse.encoding import decode
from nexus_pipelines.parse.writing import HeadingTrail, too_much_text

_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_FRONT_TITLE = re.compile(r"^title[ \t]*+:(.*)$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_MARKS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")
_ATTRIBUTES = re.compile(r"\s*\{[#.][^}]*\}\s*$")
_LONGEST_HEADING = 4000  # characters, marks and all; a label is far shorter
_LINE = re.compile(r"\r\n|\n|\r")


def parse_markdown(data: bytes, limits: ParseLimits) -> Parsed:
    """Read Markdown; sections follow its headings, the title its front matter or first heading.

    Raises:
        ParseFailure: UnsupportedFormat (binary), TooLarge.
    """
    text = fit(decode(data))
    if len(text) > limits.max_characters:
        raise too_much_text(limits.max_characters)
    front = _FRONT_MATTER.match(text)
    trail = _headings(text, front.end() if front else 0)
    return Parsed(
        format="markdown",
        text=text,
        title=label(_named(front[1]) if front else "") or trail.first,
        sections=tuple(trail.sections),
    )


def _named(front: str) -> str:
    """Return the title that front matter gives, without its quotes; "" for none."""
    found = _FRONT_TITLE.search(front)
    title = found[1].strip() if found else ""
    quoted = len(title) > 2 and title[0] == title[-1] and title[0] in "\"'"  # noqa: PLR2004
    return title[1:-1] if quoted else title


def _headings(text: str, begin: int) -> HeadingTrail:
    from markdown_it import MarkdownIt

    # Only blocks are wanted: inline rules are the slow part and the place of surprises.
    reader = MarkdownIt("commonmark").disable("inline")
    body = text[begin:]
    starts = [0, *(found.end() for found in _LINE.finditer(body))]
    trail = HeadingTrail()
    tokens = reader.parse(body)
    for token, inline in pairwise(tokens):
        if token.type != "heading_open" or token.map is None or token.level > 0:
            continue
        line = token.map[0]
        if line < len(starts):
            # A paragraph of megabytes is a heading when dashes follow it.
            heading = plain(inline.content[:_LONGEST_HEADING])
            trail.enter(begin + starts[line], int(token.tag[1:]), heading)
    return trail


def plain(heading: str) -> str:
    """Strip a heading of its inline marks: `**A** [b](c) {#id}` -> `A b`."""
    without = _LINK.sub(r"\1", _ATTRIBUTES.sub("", heading))
    return _MARKS.sub("", without)
