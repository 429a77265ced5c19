"""Which answers are compared: the first week's of what serves, and the last week's.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nexus_api.finetunejob import FineTuneJob

WEEK = timedelta(days=7)
"""A whole week on both sides, so that a Sunday is not compared with a Monday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Two spans of time that do not overlap; each begins with its start, before its end."""

    reference_start: datetime
    reference_end: datetime
    current_start: datetime
    current_end: datetime

    @property
    def reference(self) -> str:
        """Name the reference: by the second of its start."""
        return self.reference_start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def episode(self) -> datetime:
        """The start of the span, counted from the reference's end, that the present lies in.

        What is asked for on account of one reference is asked for once in each.
        """
        length = self.reference_end - self.reference_start
        whole = (self.current_end - self.reference_end) // length
        return self.reference_end + whole * length


def windows(start: datetime, now: datetime, *, length: timedelta = WEEK) -> Windows | None:
    """Give both spans; None until the reference, which begins with ``start``, has ended."""
    end = start + length
    if now <= end:
        return None
    return Windows(
        reference_start=start,
        reference_end=end,
        current_start=max(end, now - length),
        current_end=now,
    )


def reference_start(
    jobs: Iterable[FineTuneJob], model: str, first_answer: datetime | None
) -> datetime | None:
    """Tell when that began which serves now: the newest champion's release, or the first answer.

    ``jobs``: those of the model's namespace.  None where there is neither.
    """
    released = [
        job.status.champion.released_at
        for job in jobs
        if serves(job, model)
        and job.status.champion is not None
        and job.status.champion.released_at is not None
    ]
    return max(released, default=first_answer)


def serves(job: FineTuneJob, model: str) -> bool:
    """Tell whether a job's champion is for a model."""
    named = job.spec.promotion.serving_model_ref
    return named is not None and named.name == model
