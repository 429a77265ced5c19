"""The last sync of an index as far as it is known: by its Workflow, else by the status alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from nexus_api.ragindex import RagIndex
from nexus_operator.status.failure import Failure
from nexus_operator.status.runs import Report, Run

UNDER_WAY = frozenset({"Running", "Checking"})
"""Reasons of the condition Synced that stand while a run is under way."""

_EPOCH = datetime.fromtimestamp(0, tz=UTC)


@dataclass(frozen=True, kw_only=True)
class LastSync:
    """One sync.

    `lost` means that the status says it runs and the Workflow is not there: it was never created,
    or somebody deleted it.  `started`, `fingerprint`, `settings` and `report` are None where only
    the Workflow could tell them.
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


def last_sync(index: RagIndex, runs: Sequence[Run]) -> LastSync | None:
    """Return the last sync; `runs` are the sync runs of this very index, newest first."""
    named = index.status.last_sync_run
    for run in runs:
        if run.state == "running":
            return _from_run(run)
    for run in runs:
        if named is None or run.name == named:
            return _from_run(run)
    return None if named is None else _from_status(index, named)


def _from_run(run: Run) -> LastSync:
    return LastSync(
        name=run.name,
        state=run.state,
        complete=run.complete,
        attempt=run.attempt,
        cause=run.cause,
        request=run.parameters.get("request", ""),
        finished=run.finished or run.created,
        started=run.created,
        fingerprint=run.parameters.get("fingerprint"),
        settings=run.parameters.get("settings"),
        failure=run.failure,
        report=run.report,
    )


def _from_status(index: RagIndex, name: str) -> LastSync:
    status = index.status
    synced = next((one for one in status.conditions if one.type == "Synced"), None)
    under_way = synced is not None and synced.reason in UNDER_WAY
    failed = synced is not None and synced.status == "False" and not under_way
    stood = synced.last_transition_time if synced else _EPOCH
    return LastSync(
        name=name,
        state="lost" if under_way else "failed" if failed else "succeeded",
        complete=not failed,
        attempt=1,
        cause="interval" if synced is not None and synced.reason == "Checking" else "requested",
        request=status.last_sync_request or "",
        finished=stood if failed else status.last_sync_time or stood,
        fingerprint=None if failed else status.fingerprint,
    )
