"""The champion of a FineTuneJob whose status was lost, as a restore loses it.

Only the registry knows it then.  The annotation `llmops.nexus/lineage`, which is written when a job
gets its first champion and which a back-up keeps, tells such a job from a new one of the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import LINEAGE
from nexus_operator.clock import past
from nexus_operator.plan.tuning_requests import Wish, answered, asked
from nexus_operator.status.failure import Failure
from nexus_operator.status.tuning_runs import TuningRun

RECOVERING = "Recovering"
RETRY = timedelta(minutes=10)
"""After this, a registry that could not be asked is asked again."""

_RECOVER = "recover:"

HINDRANCE = Failure(
    RECOVERING,
    "The job was restored without its status, and its champion has to be found in the registry "
    "before a run can be compared with it; see the condition Released, or promote a version",
)


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The champion is not known yet; `wish` is what to ask for now, if anything."""

    wish: Wish | None = None


def without_old_requests(job: FineTuneJob) -> FineTuneJob:
    """Return the job as it is to be planned: what it was asked before it was saved is answered.

    A back-up keeps annotations and not which of them were answered: taken for new, a rollback of
    last year would take back the champion of today.
    """
    if LINEAGE not in job.metadata.annotations or job.status.observed_generation is not None:
        return job
    known = {"answered": answered(job, asked(job))}
    return job.model_copy(update={"status": job.status.model_copy(update=known)})


def recovery(
    job: FineTuneJob, moves: Sequence[TuningRun], now: datetime, *, found: bool
) -> Recovery | None:
    """Return how the champion is to be found, None when it is known or there is none to find.

    moves: releases of this very job, newest first.  found: whether one of its Workflows tells the
    champion, so that only the status has to get it: runs are started by what stands there.
    """
    had_one = job.metadata.annotations.get(LINEAGE) == job.lineage
    descends = job.lineage != job.metadata.uid
    if job.status.champion is not None or not (had_one or descends):
        return None
    if found:
        return Recovery()
    last = next((move for move in moves if move.recovers), None)
    if last is None:
        known = any(one.startswith(_RECOVER) for one in job.status.answered)
        return None if known else _asking("first")
    if last.running:
        return Recovery()
    if last.failure is None:
        return None  # the registry knows of none
    rested = past(last.finished or now, now) + RETRY <= now
    return _asking(last.name) if rested else Recovery()


def settled(move: TuningRun) -> bool:
    """Tell whether a move needs no other: one that looks for the champion has to succeed."""
    return not move.recovers or (not move.running and move.failure is None)


def lineage_note(job: FineTuneJob, *, has_champion: bool) -> dict[str, str]:
    """Return the annotation that the job lacks, if it does."""
    there = job.metadata.annotations.get(LINEAGE) == job.lineage
    return {} if there or not has_champion else {LINEAGE: job.lineage}


def _asking(after: str) -> Recovery:
    """Ask under a name that follows from the try before, so that no view makes two of one."""
    return Recovery(wish=Wish(action="recover", request=f"{_RECOVER}{after}", by="the operator"))
