"""Times that were noted by a clock that may have been wrong.

What waits until some time after one of these would wait for as long as the clock was ahead, a year
perhaps.
"""

from datetime import UTC, datetime, timedelta

FAR_AHEAD = timedelta(hours=1)
"""What lies as far ahead of now was noted by a clock that was wrong; less may be two clocks."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def past(noted: datetime, now: datetime) -> datetime:
    """Return when something was, long ago where a clock that was wrong has noted it."""
    return noted if noted <= now + FAR_AHEAD else LONG_AGO


def own(noted: datetime, before: datetime | None, now: datetime) -> datetime:
    """Return when something was that another clock has noted, by ours where that is far ahead.

    before: what was returned when it was first looked at, None now: so it does not move with `now`,
    and of two clocks that differ for good ours decides how long ago it was.
    """
    if noted <= now + FAR_AHEAD:
        return noted
    return now.replace(microsecond=0) if before is None else before
