"""When the new examples of a FineTuneJob are counted, and whether they are enough for a run.

A count is a Workflow that reads what a run would read and changes nothing.  Counts are numbered: a
controller with an old view makes a name that is taken, or one that nobody looks at any more.  What
a count found stands for the newest run that there was then: as soon as another run starts, it asks
for nothing, so one count can never start two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_api.duration import parse_duration
from nexus_api.finetunejob import FineTuneJob
from nexus_api.tuning_status import NewData
from nexus_api.tuning_triggers import NewDataTrigger
from nexus_operator.clock import own, past
from nexus_operator.plan.tuning_schedule import LOOK_AGAIN
from nexus_operator.status.conditions import Finding
from nexus_operator.status.failure import Failure
from nexus_operator.status.tuning_runs import TuningRun

COUNTED = "Counted"

_REPORT = "newData"


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Where the counts of a job that asks for them stand.

    Attributes:
        trigger: what the spec says of them.
        last: what the last one that ended found, None before it.
        failure: why that one failed, if it did and its Workflow is still there.
        running: whether one is under way.
    """

    trigger: NewDataTrigger
    last: NewData | None
    failure: Failure | None
    running: bool

    @property
    def next_number(self) -> int:
        """Number of the count that follows."""
        return self.last.number + 1 if self.last else 1


def counting(job: FineTuneJob, counts: Sequence[TuningRun], now: datetime) -> Counting | None:
    """Return where the counts stand, None for a job that asks for none.

    counts: those of this very job.
    """
    trigger = job.spec.triggers.new_data if job.spec.triggers else None
    if trigger is None:
        return None
    last, failure = job.status.new_data, None
    for run in sorted(counts, key=_number):
        if not run.running and (last is None or _number(run) >= last.number):
            last, failure = _outcome(run, last, now)
    running = any(run.running for run in counts)
    return Counting(trigger=trigger, last=last, failure=failure, running=running)


def enough(job: FineTuneJob, counts: Counting | None, newest: str) -> str:
    """Return the request for a run that the new examples make, empty if they make none.

    newest: the newest run, empty for none; its name tells whether the count is about what followed.
    The same examples ask once, even when the run for them failed before it had read them.
    """
    if counts is None or counts.last is None or (counts.last.after or "") != newest:
        return ""
    if (counts.last.examples or 0) < counts.trigger.min_examples:
        return ""
    request = _request(counts.last)
    return "" if request in job.status.answered else request


def next_count(
    job: FineTuneJob, counts: Counting | None, newest: str, now: datetime
) -> datetime | None:
    """Return when to count next while no run is under way, None when nothing is to be counted."""
    if counts is None or counts.running or enough(job, counts, newest):
        return None
    if counts.last is None or (counts.last.after or "") != newest:
        return now
    return past(counts.last.checked_at, now) + parse_duration(counts.trigger.check_interval)


def counts_look(
    counts: Counting | None, next_at: datetime | None, now: datetime
) -> timedelta | None:
    """Return how soon to look again for the sake of counts, None if not at all."""
    if next_at is not None and next_at > now:
        return next_at - now
    under_way = next_at is not None or (counts is not None and counts.running)
    return LOOK_AGAIN if under_way else None


def worn_counts(counts: Sequence[TuningRun], *, wanted: bool) -> list[str]:
    """Return the names of counts that ended: without the last one, where counts are wanted."""
    ended = sorted((run for run in counts if not run.running), key=_number)
    return [run.name for run in (ended[:-1] if wanted else ended)]


def counted(job: FineTuneJob, counts: Counting | None) -> Finding | None:
    """Return the condition Counted, None for a job that counts nothing."""
    if counts is None:
        return None
    last, wanted = counts.last, counts.trigger.min_examples
    if last is None:
        return Finding(COUNTED, False, "NotYet", "New examples have not been counted yet.")
    if last.examples is None:
        reason = counts.failure.reason if counts.failure else "Failed"
        why = f": {counts.failure.message}" if counts.failure else ""
        again = f"they are counted again after {counts.trigger.check_interval}"
        return Finding(COUNTED, False, reason, f"Count {last.number} failed{why}; {again}.")
    since = f"since run {last.since}" if last.since else "and no run has read any before"
    said = f"The last count found {last.examples} new examples {since}"
    if last.examples >= wanted and _request(last) in job.status.answered:
        message = f"{said}, and a run was started for them; others or more start another."
        return Finding(COUNTED, True, "Asked", message)
    return Finding(COUNTED, True, "Counted", f"{said}; {wanted} start a run.")


def _request(found: NewData) -> str:
    return f"new-data:{found.digest}"


def _number(run: TuningRun) -> int:
    text = run.parameters.get("number", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - what fits an int32 field


def _outcome(
    run: TuningRun, known: NewData | None, now: datetime
) -> tuple[NewData, Failure | None]:
    """Return what a count found, and why it failed; `known`: the last one that the status tells."""
    number = max(_number(run), 1)
    before = known.checked_at if known is not None and known.number == number else None
    report = run.reports.get(_REPORT, {})
    examples, digest = report.get("examples"), report.get("digest")
    told = NewData(
        number=number,
        after=run.parameters.get("after") or None,
        checked_at=own(run.finished or run.created, before, now),
    )
    if run.failure is not None:
        return told, run.failure
    if type(examples) is not int or examples < 0 or not isinstance(digest, str):
        message = f"{run.name} left no output parameter `{_REPORT}` with examples and digest"
        return told, Failure("BadReport", message)
    since = str(report.get("since") or "")[:253] or None
    found = {"examples": examples, "digest": digest[:64], "since": since}
    return told.model_copy(update=found), None
