"""What parsing yields: text with its pages and sections, or a failure with a reason."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Reason(StrEnum):
    """Why a document could not be read; shown to the user beside its message."""

    ENCRYPTED = "Encrypted"
    CORRUPT = "Corrupt"
    TOO_LARGE = "TooLarge"
    TOO_MANY_PAGES = "TooManyPages"
    TIMEOUT = "Timeout"
    OUT_OF_MEMORY = "OutOfMemory"
    UNSUPPORTED_FORMAT = "UnsupportedFormat"
    EMPTY = "Empty"


class ParseFailure(Exception):
    """One document cannot be read.  `reason` is for programs, `message` for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """What one document may cost.

    `max_bytes` of the file, `max_pages` (PDF), `timeout` in seconds of wall clock,
    `max_memory` in bytes of the parsing process, `max_characters` of the text.
    """

    max_bytes: int = 64 * 1024**2
    max_pages: int = 2000
    timeout: float = 60.0
    max_memory: int = 1024**3
    max_characters: int = 20_000_000


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's reach: from `start` (a character offset) to the next section's start."""

    start: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of one document.

    `pages[i]` is the half-open range of characters of page i + 1; empty for formats without
    pages.  `sections` ascend by start.  `unreadable_pages` counts pages that were left out
    because they are damaged.
    """

    format: str
    text: str
    title: str = ""
    pages: tuple[tuple[int, int], ...] = ()
    sections: tuple[Section, ...] = ()
    unreadable_pages: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values, as they cross from the parsing process."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(
            format=value["format"],
            text=value["text"],
            title=value["title"],
            pages=tuple((start, end) for start, end in value["pages"]),
            sections=tuple(Section(s["start"], tuple(s["path"])) for s in value["sections"]),
            unreadable_pages=value["unreadable_pages"],
        )
