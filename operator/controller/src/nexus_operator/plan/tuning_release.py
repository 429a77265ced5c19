"""When a passed gate moves the champion by itself.

Not the run does it but the operator, after the run has ended: so the stop of promotions
(`llmops.nexus/promotion-blocked`), the mode and the pin count as they are at that moment, however
long the run took.  A version that met a stop waits for a person from then on, even if the stop is
taken away: its decision stands in the status as `AskPerson`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_operator.plan.tuning_requests import Wish, blocked
from nexus_operator.status.finetunejob import parsed
from nexus_operator.status.tuning_history import Newest, champion_status
from nexus_operator.status.tuning_runs import TuningRun

GATE = "gate"
"""Who moves the champion by a verdict; the registry then checks the verdict, as it stored it."""

_ASKS = "AskPerson"
_LONGEST_MESSAGE = 4096
_LOST = "the status of the job was lost, and with it whether a stop was met before"


@dataclass(frozen=True, kw_only=True)
class GateRelease:
    """What becomes of the version that the newest run registered.

    Attributes:
        wish: the move to ask for now, if any.
        moving: whether a move that was asked for is not over, or not yet in the status.
        stop: why a person is asked instead, empty if nobody is.
    """

    wish: Wish | None = None
    moving: bool = False
    stop: str = ""

    @property
    def pending(self) -> bool:
        """Whether the champion is about to change: the next run would be compared with the old."""
        return self.moving or self.wish is not None


def gate_release(
    job: FineTuneJob, newest: Newest | None, runs: Sequence[TuningRun], moves: Sequence[TuningRun]
) -> GateRelease:
    """Return what is to be done about a passed gate; `runs` and `moves` are those of this job."""
    version = _passed(job, newest)
    if newest is None or not version or not _by_itself(job):
        return GateRelease()
    request = _request(newest)
    champion = parsed(champion_status(job, (*runs, *moves)), job)[1]
    move = next((one for one in moves if one.request == request), None)
    if move is not None:
        # By its name: the definition of an older release drops fields from the status.
        told = job.status.champion.run if job.status.champion is not None else None
        untold = champion is not None and champion.run == move.name != told
        return GateRelease(moving=move.running or untold)
    decided = job.status.last_decision
    since = decided.decided_at if decided is not None and decided.run == newest.name else None
    released = champion.released_at if champion is not None else None
    if request in job.status.answered or (since and released and released > since):
        return GateRelease()
    if stop := blocked(job) or ("" if job.status.last_run else _LOST):
        return GateRelease(stop=stop)
    return GateRelease(wish=Wish(action="release", request=request, by=GATE, version=version))


def left_to_person(job: FineTuneJob, newest: Newest | None) -> str:
    """Return the gate's request where mode or pin keep it from moving the champion, else nothing.

    It counts as answered: a person was told to decide, and a mode that is Auto again, or a pin that
    is taken away, weeks later moves nothing over their head.
    """
    kept = newest is not None and _passed(job, newest) and not _by_itself(job)
    return _request(newest) if newest is not None and kept else ""


def with_stop(shown: Manifest, job: FineTuneJob, stop: str) -> Manifest:
    """Return the fields of the status on the decision, asking a person where a stop is met or was.

    `shown` is as the run's own steps tell it.
    """
    told, before = shown.get("lastDecision"), job.status.last_decision
    if told is None or told["verdict"] != "Promote":
        return shown
    if before is not None and before.run == told["run"] and before.verdict == _ASKS:
        asks = {"reason": before.reason, "message": before.message}
    elif stop:
        message = f"{told['message']} Stopped before its release; a person is asked: {stop}"
        asks = {"reason": "DriftTooLarge", "message": message[-_LONGEST_MESSAGE:]}
    else:
        return shown
    return {**shown, "lastDecision": {**told, "verdict": _ASKS, **asks}}


def _passed(job: FineTuneJob, newest: Newest | None) -> str:
    """Return the version that the newest run registered for a release by itself, else nothing."""
    run = newest.run if newest is not None else None
    decided = job.status.last_decision
    if run is None or run.phase != "Succeeded" or run.move is not None:
        return ""  # a run of an older platform moved the champion itself
    if run.parameters.get("promotion") != "Auto":
        return ""  # it was started to wait for a person
    if decided is not None and decided.run == run.name and decided.verdict == _ASKS:
        return ""
    if run.reports.get("decision", {}).get("verdict") != "Promote":
        return ""
    return str(run.reports.get("version", {}).get("version") or "")


def _by_itself(job: FineTuneJob) -> bool:
    """Tell whether what passes may be released without a person, as the spec is now."""
    return job.spec.promotion.mode == "Auto" and job.spec.promotion.pinned_version is None


def _request(newest: Newest) -> str:
    return f"gate:{newest.name}"
