"""Which paths of a bucket belong to an index: `include` and `exclude` of its source.

`*`, `?` and `[a-c]` stay within one folder; `**` as a folder of its own stands for any number of
folders.  A pattern without a slash is matched with the file's name, in whatever folder it lies.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence

_ANY_DEPTH = None
_Segments = tuple[re.Pattern[str] | None, ...]


def selector(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool]:
    """Make the test whether a path (below the prefix) is included and not excluded."""
    wanted = [_segments(pattern) for pattern in include]
    unwanted = [_segments(pattern) for pattern in exclude]

    def belongs(path: str) -> bool:
        parts = path.split("/")
        return any(_matches(one, parts) for one in wanted) and not any(
            _matches(one, parts) for one in unwanted
        )

    return belongs


def _segments(pattern: str) -> _Segments:
    anywhere = pattern if "/" in pattern else f"**/{pattern}"
    parts = anywhere.lstrip("/").split("/")
    if parts[-1] == "**":
        parts.append("*")
    # fnmatch compiles to expressions that do not backtrack across wildcards.
    return tuple(
        _ANY_DEPTH if part == "**" else re.compile(fnmatch.translate(part)) for part in parts
    )


def _matches(pattern: _Segments, parts: Sequence[str]) -> bool:
    """Match folder by folder: `open_at` are the places in the pattern that the path may be at."""
    open_at = _with_skips(pattern, {0})
    for part in parts:
        following: set[int] = set()
        for place in open_at:
            if place == len(pattern):
                continue
            segment = pattern[place]
            if segment is _ANY_DEPTH:
                following.add(place)
            elif segment.match(part):
                following.add(place + 1)
        open_at = _with_skips(pattern, following)
    return len(pattern) in open_at


def _with_skips(pattern: _Segments, places: set[int]) -> set[int]:
    """Add the places behind each `**`, which may stand for no folder at all."""
    closed = set(places)
    for place in sorted(places):
        skip = place
        while skip < len(pattern) and pattern[skip] is _ANY_DEPTH:
            skip += 1
            closed.add(skip)
    return closed
