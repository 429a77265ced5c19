"""The version of a FineTuneJob that waits for a person: what `@challenger` means.  Pure."""

from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_api.tuning_status import Champion, LastDecision, RegisteredVersion
from nexus_operator.status.tuning_history import Newest
from nexus_operator.status.tuning_runs import TuningRun

Standing = Literal["undecided", "nothing", "released", "pinned", "passedOver", "waiting"]
"""What became of the version of the last decision."""

_WAITING_VERDICTS = frozenset({"Promote", "AskPerson"})


def standing(
    job: FineTuneJob,
    decision: LastDecision | None,
    champion: Champion | None,
    newest: Newest | None,
    *,
    releasing: bool,
) -> Standing:
    """Return what became of what was decided last; `undecided` while its run or release goes on.

    decision, champion: as the status is to have them.  releasing: whether the gate moves it.
    """
    if decision is None:
        return "undecided"
    if newest is not None and newest.name == decision.run and (newest.busy or releasing):
        return "undecided"
    if decision.version is None or decision.verdict not in _WAITING_VERDICTS:
        return "nothing"
    if champion is not None and champion.version == decision.version:
        return "released"
    if job.spec.promotion.pinned_version is not None:
        return "pinned"
    return "passedOver" if _passed_over(decision, champion) else "waiting"


def challenger_status(
    job: FineTuneJob,
    stands: Standing,
    decision: LastDecision | None,
    champion: Champion | None,
    runs: Sequence[TuningRun],
) -> Manifest:
    """Return `status.challenger`, nothing where it stays as it is.

    It goes in the same moment as its version becomes the champion: who serves both changes once.
    What a pin keeps back waits, too, and what the pin itself is about to release is not taken away
    before.  While the gate releases by itself there is none: it would come for a minute.
    """
    known = job.status.challenger
    if stands == "undecided":
        taken = known is not None and champion is not None and champion.version == known.version
        return {"challenger": None} if taken else {}
    over = stands not in {"waiting", "pinned"} or _passed_over(decision, champion)
    if decision is None or decision.version is None or over:
        return {"challenger": None}
    run = next((one for one in runs if one.name == decision.run), None)
    told = _registered(run, decision.version)
    if told is None and known is not None and known.version == decision.version:
        told = known
    return {"challenger": (told or RegisteredVersion(version=decision.version)).manifest()}


def _registered(run: TuningRun | None, version: str) -> RegisteredVersion | None:
    """Return where a run says that its version lies, and its digest; None where it lacks either."""
    report = run.reports.get("version", {}) if run is not None else {}
    told = {name: report.get(name) for name in ("version", "uri", "digest")}
    if told["version"] != version or not (told["uri"] and told["digest"]):
        return None  # what cannot be held against a digest is not served unseen
    try:
        return RegisteredVersion.model_validate(told)
    except ValidationError:
        return None


def _passed_over(decision: LastDecision | None, champion: Champion | None) -> bool:
    """Tell whether another version was released since the decision."""
    released = champion.released_at if champion is not None else None
    decided = decision.decided_at if decision is not None else None
    return bool(released and decided and released > decided)
