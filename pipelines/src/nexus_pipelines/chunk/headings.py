"""The parts of a text between headings, and the heading line that is put before a chunk."""

from dataclasses import dataclass
from itertools import pairwise

from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.parse.document import Parsed, Section

_SEPARATOR = " > "
_LEAD = 4 * 300  # characters in which a part's own headings stand


@dataclass(frozen=True, slots=True)
class Range:
    """The characters from `start` to `end` under the headings `path`.

    `outer` are those headings that the text itself does not begin with.
    """

    start: int
    end: int
    path: tuple[str, ...]
    outer: tuple[str, ...]


def ranges(parsed: Parsed) -> list[Range]:
    """Part a document at its headings.

    A heading with nothing below it but a deeper heading begins that heading's part.
    """
    text = parsed.text
    sections = [Section(0, ()), *parsed.sections, Section(len(text), ())]
    filled = [
        (this.start, following.start, this.path)
        for this, following in pairwise(sections)
        if text[this.start : following.start].strip()
    ]
    parts: list[Range] = []
    begin: int | None = None
    for number, (here, end, path) in enumerate(filled):
        start = here if begin is None else begin
        below = filled[number + 1][2] if number + 1 < len(filled) else ()
        deeper = len(below) > len(path) > 0 and below[: len(path)] == path
        if deeper and _is_heading_only(text[start:end], path):
            begin = start
        else:
            begin = None
            parts.append(Range(start, end, path, _outer(text, start, path)))
    return parts


def _is_heading_only(text: str, path: tuple[str, ...]) -> bool:
    """Tell whether a text holds its own headings and nothing else, marks aside."""
    return sum(map(str.isalnum, text)) <= sum(map(str.isalnum, "".join(path)))


def _outer(text: str, start: int, path: tuple[str, ...]) -> tuple[str, ...]:
    lead = " ".join(text[start : start + _LEAD].split())[: sum(map(len, path)) + 16 * len(path)]
    count = len(path)
    while count and path[count - 1] in lead:
        count -= 1
    return path[:count]


def heading_prefix(path: tuple[str, ...], tokenizer: TextTokenizer, room: int) -> str:
    """Write headings as one line of at most `room` tokens; the outermost are left out first."""
    for first in range(len(path)):
        line = _SEPARATOR.join(path[first:]) + "\n"
        if tokenizer.count(line) <= room:
            return line
    if not path:
        return ""
    tokens = tokenizer.tokens(path[-1])
    if len(tokens) == 0:
        return ""
    kept = path[-1][: tokens.ends[min(room, len(tokens)) - 1]].strip()
    return f"{kept}\n" if tokenizer.count(f"{kept}\n") <= room else ""
