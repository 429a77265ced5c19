"""Lengths of time as people write them in specs: `90s`, `5m`, `2h`, `1h30m`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field

PATTERN = r"^([0-9]{1,5}h([0-9]{1,6}m)?([0-9]{1,7}s)?|[0-9]{1,6}m([0-9]{1,7}s)?|[0-9]{1,7}s)$"

Duration = Annotated[str, Field(max_length=24, pattern=PATTERN)]
"""A duration in hours, minutes and seconds, for instance `1h30m`."""


def within(least: str, most: str) -> str:
    """Return the CEL rule that bounds a duration; a text of the wrong form is not its concern."""
    inside = f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    return f"!self.matches('{PATTERN}') || ({inside})"


_PARTS = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?")


class BadDuration(ValueError):
    """The text is no duration."""


def parse_duration(text: str) -> timedelta:
    """Return the length of `text`; raises BadDuration for anything but hours, minutes, seconds."""
    match = _PARTS.fullmatch(text)
    if not text or match is None:
        raise BadDuration(f"{text!r} is no duration; write for instance 90s, 5m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)
