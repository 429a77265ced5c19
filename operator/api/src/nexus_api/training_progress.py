"""How far a training is, as the line that its step prints and the operator reads from the log.

progress step=12/40 loss=1.23456 end=2026-01-31T12:40:00Z
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

_FORM = re.compile(
    r"progress step=(?P<done>\d{1,9})/(?P<total>\d{1,9})"
    r" loss=(?P<loss>-?\d{1,9}(?:\.\d{1,9})?(?:e[+-]\d{1,3})?)"
    r" end=(?P<end>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)",
    re.ASCII,
)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_WHOLE = 100


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Steps done of those planned, the loss of the newest one, and when the last should end.

    `end` is a time, not a span, so that a line tells the same whenever it is read.
    """

    done: int
    total: int
    loss: float
    end: datetime | None = None

    @property
    def percent(self) -> int:
        """How far it is, from 0 to 100."""
        return min(self.done, self.total) * _WHOLE // self.total

    def line(self) -> str:
        """Write it, to the second and to six digits."""
        end = "-" if self.end is None else self.end.astimezone(UTC).strftime(_TIME)
        return f"progress step={self.done}/{self.total} loss={self.loss:.6g} end={end}"

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Read a line; None for any other."""
        found = _FORM.fullmatch(line.strip())
        if found is None:
            return None
        total, loss = int(found["total"]), float(found["loss"])
        if total == 0 or not math.isfinite(loss):
            return None
        end = None
        if found["end"] != "-":
            try:
                end = datetime.strptime(found["end"], _TIME).replace(tzinfo=UTC)
            except ValueError:
                return None
        return cls(done=int(found["done"]), total=total, loss=loss, end=end)

    @classmethod
    def last_of(cls, lines: Iterable[str]) -> Self | None:
        """Read the last of such lines among others; None when there is none."""
        told = (cls.parse(line) for line in reversed(list(lines)))
        return next((one for one in told if one is not None), None)
