"""Durations as Argo reads them: `90`, `2s`, `1m30s`, `500ms`."""

import re
from datetime import timedelta

from nexus_local.workflows.errors import WorkflowError

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


def parse_duration(text: str) -> timedelta:
    """Return the duration; a bare integer counts seconds.  Raises WorkflowError."""
    if re.fullmatch(r"[+-]?\d+", text):
        return timedelta(seconds=int(text))
    if not text or not re.fullmatch(rf"(?:{PART.pattern})+", text):
        raise WorkflowError(f"{text!r} is not a duration: write 30s, 5m or 1h30m")
    return timedelta(
        seconds=sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    )
