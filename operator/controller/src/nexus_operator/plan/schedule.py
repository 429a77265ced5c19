"""When an index is synced next, from its spec, its last sync and the clock."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from nexus_api.duration import parse_duration
from nexus_api.meta import SYNC_REQUESTED
from nexus_api.notices import CLOCK_MARGIN
from nexus_api.ragindex import RagIndex, RagIndexSpec
from nexus_operator.naming import digest
from nexus_operator.objects import moment
from nexus_operator.status.history import LastSync
from nexus_operator.status.runs import Cause

FIRST_BACK_OFF = timedelta(seconds=10)
LONGEST_BACK_OFF = timedelta(minutes=10)

_PLAIN_ID = re.compile(r"[-A-Za-z0-9._:+/]{0,200}")


@dataclass(frozen=True, kw_only=True)
class NextSync:
    """When the next sync is due, and why."""

    at: datetime
    cause: Cause
    attempt: int


def settings_text(spec: RagIndexSpec) -> str:
    """Return the spec with all defaults as compact JSON, the form in which a run receives it.

    A user's `{{` is written as an escape, which only the reader of the JSON undoes: in a Workflow
    it would be taken for a tag.  Outside of strings JSON never has two braces in a row.
    """
    text = json.dumps(spec.manifest(), sort_keys=True, separators=(",", ":"))
    return text.replace("{{", "{\\u007b")


def requested(index: RagIndex) -> str:
    """Return the id of the last request for a sync, empty when there was none.

    Somebody may write anything into the annotation: what is no plain id stands as its hash.
    """
    asked = index.metadata.annotations.get(SYNC_REQUESTED, "")
    return asked if _PLAIN_ID.fullmatch(asked) else f"sha256:{digest([asked])}"


def asks(index: RagIndex, last: LastSync) -> bool:
    """Tell whether there is a request that `last` does not answer."""
    return bool(open_request(index, last))


def open_request(index: RagIndex, last: LastSync) -> str:
    """Return a request that `last` does not answer, empty when there is none.

    The annotation holds the notice that came last, which need not be the latest: notices come twice
    and out of order.  So what came while no sync could start is remembered in the status, until one
    starts; one is enough, and the first is kept, so that a burst of them costs one write.
    """
    return index.status.pending_request or _unanswered(requested(index), last)


def _unanswered(asked: str, last: LastSync) -> str:
    """Return a request if `last` does not answer it.

    A request that is the time of a change is answered, too, by a sync that began after it: of a
    thousand notices that come one after another all but the first few are.
    """
    if asked in {"", last.request}:
        return ""
    changed = moment(asked)
    open_still = changed is None or last.started is None or changed + CLOCK_MARGIN >= last.started
    return asked if open_still else ""


def next_sync(index: RagIndex, last: LastSync | None, now: datetime) -> NextSync:
    """Return when the next sync is due after `last`, which must not be running."""
    if last is None:
        return NextSync(at=now, cause="first", attempt=1)
    if last.state == "lost":
        cause: Cause = "interval" if last.cause == "interval" else "requested"
        return NextSync(at=now, cause=cause, attempt=last.attempt)
    finished = min(last.finished, now)  # of two clocks one may be a little ahead
    if _changed(index.spec, last):
        return NextSync(at=now, cause="changed", attempt=1)
    asked = asks(index, last)
    if not last.complete:
        wait = back_off(last.attempt)
        wait = min(wait, FIRST_BACK_OFF) if asked else wait
        return NextSync(at=finished + wait, cause="retry", attempt=last.attempt + 1)
    if asked:
        return NextSync(at=now, cause="requested", attempt=1)
    interval = parse_duration(index.spec.sync.interval)
    return NextSync(at=finished + interval, cause="interval", attempt=1)


def back_off(attempt: int) -> timedelta:
    """Return the wait after failure number `attempt`: 10 s, doubled each time, at most 10 min."""
    return min(FIRST_BACK_OFF * (1 << min(attempt - 1, 10)), LONGEST_BACK_OFF)


def _changed(spec: RagIndexSpec, last: LastSync) -> bool:
    """Tell whether the spec now asks for other documents or vectors than the last sync did."""
    if last.fingerprint is not None and last.fingerprint != spec.fingerprint():
        return True
    if last.settings is None:
        return False
    try:
        before = RagIndexSpec.model_validate_json(last.settings)
    except ValidationError:
        return True
    return (before.parsing, _wanted(before)) != (spec.parsing, _wanted(spec))


def _wanted(spec: RagIndexSpec) -> object:
    """Return the source without `suspend`: to resume changes nothing of what is wanted."""
    return spec.source.model_copy(update={"suspend": False})
