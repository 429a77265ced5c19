"""The end of a log, short enough for an error message."""

import re
from collections.abc import Iterable

COMPLAINT = re.compile(r"(\w*(?:Error|Exception)\b: .*)")
"""What a Python program says of its end, in the midst of a page of frames."""

_SAID = 2000  # characters


def last_words(lines: Iterable[str]) -> str:
    """Return the last lines that say something, in one line of at most 2,000 characters."""
    return " | ".join(line.strip() for line in lines if line.strip())[-_SAID:]
