"""Whether the run that an alert asks for waits for an index.  Pure.

Fine-tuning teaches a form of answering, not what the documents say.  So where the index of the
model that a job promotes to is behind its documents, an alert asks for a sync first.  The wait ends
when the index is fresh, and after an hour in any case: an index that nobody mends must not stop
retraining for ever, and nobody would know.  What people, the schedule and new data ask for waits
for nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.index_state import staleness
from nexus_api.meta import API_VERSION, SYNC_REQUESTED
from nexus_api.ragindex import RagIndex
from nexus_operator.clock import past
from nexus_operator.cluster.protocol import Ref
from nexus_operator.plan.model import Note, Seen
from nexus_operator.plan.tuning_schedule import last_start, rested, waiting_alerts
from nexus_operator.status.conditions import Finding, timestamp
from nexus_operator.status.tuning_history import Newest

HELD = "Held"

LONGEST_HOLD = timedelta(hours=1)
"""How long an alert's run waits for an index at most: many tries of a sync, ten minutes apart."""

_STALE, _ENOUGH = "IndexStale", "HeldLongEnough"


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What an alert's run waits for.

    Attributes:
        index: where the index is.
        why: what it lacks, as a clause.
        since: when this wait began, in whole seconds: as the condition tells it.
        request: the record of the alert, the first one where several wait; it is the request for
            the sync, too.
        asks: whether the sync is to be asked for now; once in each wait.
    """

    index: Ref
    why: str
    since: datetime
    request: str
    asks: bool

    @property
    def until(self) -> datetime:
        """When the run starts whatever has become of the index."""
        return self.since + LONGEST_HOLD

    def note(self) -> Note:
        """Return the request for the sync."""
        return Note(self.index, SYNC_REQUESTED, self.request)


def index_to_look_at(job: FineTuneJob, seen: Seen) -> Ref | None:
    """Return the index that answers for the model of a job's promotion, while an alert waits.

    It goes by the model as it stands, which another release may have written.
    """
    named = job.spec.promotion.serving_model_ref
    model = seen.reference("ServingModel", named.name) if named else None
    if model is None or not waiting_alerts(job, None):
        return None
    knowledge = (model.get("spec") or {}).get("knowledge") or {}
    name = (knowledge.get("ragIndexRef") or {}).get("name")
    return Ref(API_VERSION, "RagIndex", job.metadata.namespace, str(name)) if name else None


def alert_hold(job: FineTuneJob, newest: Newest | None, seen: Seen, now: datetime) -> Hold | None:
    """Return what the run waits for that an alert asks for and that is due, None for nothing.

    newest: the newest run; during a run nothing waits for an index.
    """
    if newest is not None and newest.busy:
        return None
    last = last_start(newest)
    alerts = waiting_alerts(job, last)
    place = index_to_look_at(job, seen)
    index = _index(seen, place) if place is not None else None
    if not alerts or place is None or index is None or rested(job, last, now) > now:
        return None
    why = staleness(index, now)
    if not why:
        return None
    told = next((one for one in job.status.conditions if one.type == HELD), None)
    began = told.last_transition_time if told is not None and told.status == "True" else None
    request = alerts[0].removeprefix("run:")
    known = {index.metadata.annotations.get(SYNC_REQUESTED), index.status.last_sync_request}
    return Hold(
        index=place,
        why=why,
        since=past(began, now) if began else now.replace(microsecond=0),
        request=request,
        asks=began is None and request not in known,
    )


def held(
    job: FineTuneJob, hold: Hold | None, newest: Newest | None, now: datetime
) -> Finding | None:
    """Return the condition Held, None where no run waits and none has waited in vain.

    newest: the newest run, which may be one that starts now.
    """
    busy = newest is not None and newest.busy
    if hold is not None and not busy:
        message = (
            f"An alert asks for a run, and {hold.why}: documents come first, and a sync is asked "
            f"for. The run starts once the index is up to date, and at {timestamp(hold.until)} in "
            f"any case. `nexus run finetunejob/{job.metadata.name}` does not wait."
        )
        return Finding(HELD, True, _STALE, message)
    if hold is not None and now >= hold.until:
        message = (
            f"An alert asked for this run, and after {_minutes(LONGEST_HOLD)} {hold.why} still: "
            "what it learns is no cure for documents that are missing, so look at the index."
        )
        return Finding(HELD, False, _ENOUGH, message)
    told = next((one for one in job.status.conditions if one.type == HELD), None)
    if busy and told is not None and told.reason == _ENOUGH:
        return Finding(HELD, False, _ENOUGH, told.message)
    return None


def _index(seen: Seen, place: Ref) -> RagIndex | None:
    found = seen.reference("RagIndex", place.name)
    try:
        index = RagIndex.model_validate(found) if found is not None else None
    except ValidationError:
        return None  # its own condition says so, and no sync of it starts
    return None if index is None or index.deleting else index


def _minutes(length: timedelta) -> str:
    return f"{length // timedelta(minutes=1)} minutes"
