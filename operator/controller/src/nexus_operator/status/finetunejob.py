"""The conditions of a FineTuneJob, in words for a person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_api.tuning_status import Champion, LastDecision
from nexus_operator.status.conditions import Finding, timestamp
from nexus_operator.status.failure import Failure
from nexus_operator.status.tuning_challenger import Standing
from nexus_operator.status.tuning_history import Newest
from nexus_operator.status.tuning_runs import TuningRun

SUSPENDED = "Suspended"


@dataclass(frozen=True, kw_only=True)
class TuningOutlook:
    """Where a job stands.

    Attributes:
        newest: the newest run, also one that starts now.
        next_at, next_cause: when the next run starts, if one will, and why.
        hindrance: why none will, if so.
        moves: the releases of this very job, newest first.
        unreadable: a sentence on an annotation that cannot be read, else empty.
        decision, champion: as the status is to have them.
        standing: what became of the version of that decision.
        releasing: whether a passed gate is about to move the champion by itself.
        notice: what a person should know of a job that can be run.
    """

    newest: Newest | None
    next_at: datetime | None
    next_cause: str
    hindrance: Failure | None
    moves: Sequence[TuningRun]
    unreadable: str
    decision: LastDecision | None
    champion: Champion | None
    standing: Standing
    releasing: bool = False
    notice: Failure | None = None


def findings(job: FineTuneJob, outlook: TuningOutlook) -> Iterator[Finding]:
    """Yield the conditions that can be told now; others stay as they are."""
    yield _ready(outlook)
    yield _running(outlook)
    yield from _succeeded(outlook)
    yield from _awaiting(job, outlook)
    yield from _released(job, outlook)


def _ready(outlook: TuningOutlook) -> Finding:
    if outlook.hindrance is None and outlook.notice is not None:
        message = f"The job can be run. {outlook.notice.message}."
        return Finding("Ready", True, outlook.notice.reason, message)
    if outlook.hindrance is None:
        message = "The job is valid and all that it names is there."
        return Finding("Ready", True, "Resolved", message)
    holds = outlook.hindrance.reason == SUSPENDED
    return Finding("Ready", holds, outlook.hindrance.reason, f"{outlook.hindrance.message}.")


def _running(outlook: TuningOutlook) -> Finding:
    newest = outlook.newest
    if newest is not None and newest.state == "running":
        return Finding("Running", True, "Running", f"Run {newest.name} is under way.")
    if newest is not None and newest.state == "starting" and outlook.hindrance is None:
        return Finding("Running", True, "Starting", f"Run {newest.name} is starting.")
    if outlook.hindrance is not None:
        return Finding("Running", False, "Hindered", "No run starts; see the condition Ready.")
    if outlook.releasing:
        message = "What the last run registered is released first."
        return Finding("Running", False, "Releasing", message)
    if outlook.next_at is None:
        return Finding("Running", False, "Idle", "Nothing asks for a run.")
    message = f"The next run starts at {timestamp(outlook.next_at)} ({outlook.next_cause})."
    return Finding("Running", False, "Waiting", message)


def _succeeded(outlook: TuningOutlook) -> Iterator[Finding]:
    newest = outlook.newest
    if newest is None or newest.busy:
        return
    kind = "LastRunSucceeded"
    if newest.state == "lost":
        message = f"Run {newest.name} was deleted before its end; ask for another with `nexus run`."
        yield Finding(kind, False, "Lost", message)
    elif newest.run is not None and newest.run.cancelled:
        yield Finding(kind, False, "Cancelled", f"Run {newest.name} was cancelled.")
    elif newest.run is not None and newest.run.failure is not None:
        failure = newest.run.failure
        yield Finding(kind, False, failure.reason, f"Run {newest.name}: {failure.message}.")
    elif newest.run is not None:
        decision = outlook.decision
        decided = decision is not None and decision.run == newest.name
        reason = decision.reason if decision is not None and decided else "Done"
        said = f": {decision.message.rstrip('.')}" if decision is not None and decided else ""
        yield Finding(kind, True, reason or "Done", f"Run {newest.name} is done{said}.")


def _awaiting(job: FineTuneJob, outlook: TuningOutlook) -> Iterator[Finding]:
    kind, decision = "AwaitingApproval", outlook.decision
    stands = outlook.standing
    if decision is None or stands == "undecided":
        return  # nobody need approve what is released by itself
    name, version = job.metadata.name, decision.version
    if stands == "nothing":
        message = f"The last decision was {decision.verdict}: there is nothing to approve."
        yield Finding(kind, False, "NothingToApprove", message)
    elif stands == "released":
        yield Finding(kind, False, "Released", f"Version {version} is the champion.")
    elif stands == "pinned":
        pinned = job.spec.promotion.pinned_version
        message = f"spec.promotion.pinnedVersion keeps version {pinned}; {version} is registered."
        yield Finding(kind, False, "Pinned", message)
    elif stands == "passedOver":
        message = f"Version {version} was passed over: another one was released since."
        yield Finding(kind, False, "PassedOver", message)
    else:
        message = (
            f"Version {version} waits for a person ({decision.reason}): look at its report, ask it "
            f"as an adapter models:/{job.metadata.namespace}.{name}@challenger, then "
            f"`nexus promote {name} --version {version}`."
        )
        yield Finding(kind, True, decision.reason or decision.verdict, message)


def _released(job: FineTuneJob, outlook: TuningOutlook) -> Iterator[Finding]:
    kind, pinned = "Released", job.spec.promotion.pinned_version
    last = outlook.moves[0] if outlook.moves else None
    if last is not None and last.running and last.recovers:
        message = f"{last.name} asks the registry which version is the champion."
        yield Finding(kind, False, "Recovering", message)
    elif last is not None and last.running:
        yield Finding(kind, False, "Moving", f"{last.name} moves the champion.")
    elif outlook.unreadable:
        yield Finding(kind, False, "BadRequest", outlook.unreadable)
    elif last is not None and last.failure is not None and _newer(last, outlook):
        then = "It is tried again" if last.recovers else "Ask again once that is mended"
        message = f"{last.name}: {last.failure.message}. {then}."
        yield Finding(kind, False, last.failure.reason, message)
    elif outlook.champion is not None:
        version = outlook.champion.version
        if pinned is not None:
            message = f"Version {version} is the champion; others wait while it is pinned."
            yield Finding(kind, True, "Pinned", message)
        else:
            yield Finding(kind, True, "Released", f"Version {version} is the champion.")


def _newer(move: TuningRun, outlook: TuningOutlook) -> bool:
    released = outlook.champion.released_at if outlook.champion is not None else None
    return released is None or move.finished is None or move.finished >= released


def parsed(shown: Manifest, job: FineTuneJob) -> tuple[LastDecision | None, Champion | None]:
    """Return decision and champion as the status will have them."""
    decision, champion = shown.get("lastDecision"), shown.get("champion")
    return (
        LastDecision.model_validate(decision) if decision else job.status.last_decision,
        Champion.model_validate(champion) if champion else job.status.champion,
    )
