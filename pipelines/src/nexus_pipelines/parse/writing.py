"""Put a text together from pieces while its headings are noted by offset."""

from nexus_pipelines.parse.cleaning import label
from nexus_pipelines.parse.document import ParseFailure, Reason, Section

MAX_SECTIONS = 100_000


class HeadingTrail:
    """The headings that reach over the current place, outermost first."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self.sections: list[Section] = []

    def enter(self, start: int, level: int, heading: str) -> None:
        """Begin the section of a heading; a heading without text is no section."""
        name = label(heading)
        if not name or len(self.sections) >= MAX_SECTIONS:
            return
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, name))
        self.sections.append(Section(start, tuple(text for _, text in self._open)))

    @property
    def first(self) -> str:
        """The first heading: a title where the document names none."""
        return self.sections[0].path[-1] if self.sections else ""


class Writer:
    """Grows one text by blocks that are parted by blank lines, never past the limit."""

    def __init__(self, max_characters: int) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._max = max_characters
        self.trail = HeadingTrail()

    @property
    def length(self) -> int:
        """How many characters are written."""
        return self._length

    def block(self, text: str, *, gap: str = "\n\n") -> None:
        """Add a block after `gap`; one without visible text is left out."""
        if text.strip():
            self._part(gap)
            self._add(text)

    def heading(self, text: str, level: int) -> None:
        """Add a heading as a block of its own and begin its section there."""
        if text.strip():
            self._part("\n\n")
            self.trail.enter(self._length, level, text)
            self._add(text)

    def text(self) -> str:
        """Give the whole text."""
        return "".join(self._parts)

    def _part(self, gap: str) -> None:
        if self._length:
            self._add(gap)

    def _add(self, text: str) -> None:
        self._length += len(text)
        if self._length > self._max:
            raise too_much_text(self._max)
        self._parts.append(text)


def too_much_text(limit: int) -> ParseFailure:
    """Say that a document unfolds to more text than is taken in."""
    return ParseFailure(
        Reason.TOO_LARGE, f"the document holds more than {limit:,} characters of text; split it"
    )
