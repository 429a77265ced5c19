"""The last sync of an index as far as it is known: by its Workflow, else by the status alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from nexus_api.ragindex import RagIndex
from nexus_operator.clock import LONG_AGO, own, past
from nexus_operator.status.failure import Failure
from nexus_operator.status.runs import Report, Run

UNDER_WAY = frozenset({"Running", "Checking"})
"""Reasons of the condition Synced that stand while a run is under way."""


@dataclass(frozen=True, kw_only=True)
class LastSync:
    """One sync.

    `lost` means that the status says it runs and the Workflow is not there: it was never created,
    or somebody deleted it.  `started`, `fingerprint`, `settings` and `report` are None where only
    the Workflow could tell them.  Times that lie far ahead are not told: `finished` is then when we
    first saw it, or long ago where that is noted nowhere.
    """

    name: str
    state: Literal["running", "succeeded", "failed", "lost"]
    complete: bool
    attempt: int
    cause: str
    request: str
    finished: datetime
    started: datetime | None = None
    fingerprint: str | None = None
    settings: str | None = None
    failure: Failure | None = None
    report: Report | None = None


def last_sync(index: RagIndex, runs: Sequence[Run], now: datetime) -> LastSync | None:
    """Return the last sync; `runs` are the sync runs of this very index, newest first."""
    named = index.status.last_sync_run
    for run in runs:
        if run.state == "running":
            return _from_run(index, run, now)
    for run in runs:
        if named is None or run.name == named:
            return _from_run(index, run, now)
    return None if named is None else _from_status(index, named, now)


def _from_run(index: RagIndex, run: Run, now: datetime) -> LastSync:
    return LastSync(
        name=run.name,
        state=run.state,
        complete=run.complete,
        attempt=run.attempt,
        cause=run.cause,
        request=run.parameters.get("request", ""),
        finished=_finished(index, run, now),
        started=past(run.created, now),
        fingerprint=run.parameters.get("fingerprint"),
        settings=run.parameters.get("settings"),
        failure=run.failure,
        report=run.report,
    )


def _finished(index: RagIndex, run: Run, now: datetime) -> datetime:
    """Return the end of a run, by our clock where another is far ahead: the status remembers it.

    Of a run that failed it does not: what waits for the end of that waits no longer.
    """
    ended = run.finished or run.created
    if run.state != "succeeded":
        return past(ended, now)
    status = index.status
    noted = status.last_sync_time if status.last_sync_run == run.name else None
    if noted is None or noted != past(noted, now) or _under_way(index):
        return own(ended, None, now)
    return own(ended, noted, now)


def _under_way(index: RagIndex) -> bool:
    """Tell whether the status says that its run is under way."""
    return any(one.type == "Synced" and one.reason in UNDER_WAY for one in index.status.conditions)


def _from_status(index: RagIndex, name: str, now: datetime) -> LastSync:
    status = index.status
    synced = next((one for one in status.conditions if one.type == "Synced"), None)
    under_way = _under_way(index)
    failed = synced is not None and synced.status == "False" and not under_way
    stood = synced.last_transition_time if synced else LONG_AGO
    return LastSync(
        name=name,
        state="lost" if under_way else "failed" if failed else "succeeded",
        complete=not failed,
        attempt=1,
        cause="interval" if synced is not None and synced.reason == "Checking" else "requested",
        request=status.last_sync_request or "",
        finished=past(stood, now) if failed else own(status.last_sync_time or stood, None, now),
        fingerprint=None if failed else status.fingerprint,
    )
