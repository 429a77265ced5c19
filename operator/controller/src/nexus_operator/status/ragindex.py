"""The status of a RagIndex, in words for a person."""

from dataclasses import dataclass
from datetime import datetime

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.status.conditions import Finding, merge, timestamp
from nexus_operator.status.failure import Failure
from nexus_operator.status.history import LastSync


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """The run that runs, or that starts now."""

    name: str
    cause: str
    request: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Where an index stands.

    Attributes:
        last: the last sync that is known; it is under way when `run` has its name.
        run: the run that is under way, if any.
        pending_request: what asks for a sync that no run has answered or starts for, if anything.
        next_at: when the next run starts, if one will.
        hindrance: why none will start, if so.
        answered: the request that the last sync answers although it began without it.
        notified: whether the index hears of uploads; None where that is no question.
    """

    last: LastSync | None
    run: UnderWay | None = None
    pending_request: str = ""
    next_at: datetime | None = None
    hindrance: Failure | None = None
    answered: str = ""
    notified: Finding | None = None


@dataclass(frozen=True)
class _Serving:
    collection: str
    fingerprint: str
    chunks: int
    documents: Manifest


def ragindex_status(index: RagIndex, outlook: Outlook, now: datetime) -> Manifest:
    """Return the whole status; a field that is None is to be cleared."""
    serving = _serving(index, outlook.last)
    last, run = outlook.last, outlook.run
    findings = [
        _ready(index, serving, outlook),
        _synced(serving, outlook),
        *_degraded(index, serving, outlook),
        *([outlook.notified] if outlook.notified else []),
    ]
    drop = frozenset() if outlook.notified else frozenset({"Notified"})
    named = run or last
    ended = last.finished if last and last.state == "succeeded" else index.status.last_sync_time
    old = [one.manifest() for one in index.status.conditions]
    generation = index.metadata.generation
    return {
        "observedGeneration": generation,
        "conditions": merge(old, findings, generation=generation, now=now, drop=drop),
        "documents": serving.documents or None,
        "chunks": serving.chunks if serving.documents else None,
        "activeCollection": serving.collection or None,
        "fingerprint": serving.fingerprint or None,
        "lastSyncTime": timestamp(ended) if ended else None,
        "lastSyncRun": named.name if named else None,
        "lastSyncRequest": outlook.answered or (named.request or None if named else None),
        "pendingRequest": outlook.pending_request or None,
    }


def _serving(index: RagIndex, last: LastSync | None) -> _Serving:
    """Return what answers questions now: by the last report, else as the status had it."""
    if last is not None and last.report is not None:
        report = last.report
        counts = {
            "total": report.total,
            "indexed": report.indexed,
            "failed": report.failed,
            "pending": report.pending,
        }
        return _Serving(report.collection, report.fingerprint, report.chunks, counts)
    status = index.status
    return _Serving(
        status.active_collection or "",
        status.fingerprint or "",
        status.chunks or 0,
        status.documents.manifest() if status.documents else {},
    )


def _ready(index: RagIndex, serving: _Serving, outlook: Outlook) -> Finding:
    if serving.collection:
        indexed = serving.documents.get("indexed", 0)
        message = (
            f"Questions are answered from {_count(serving.chunks, 'chunk')} "
            f"of {_count(indexed, 'document')}."
        )
        if serving.fingerprint != index.spec.fingerprint():
            message += (
                " The settings have changed since: a new collection is built beside this one, "
                "which answers until then."
            )
        return Finding("Ready", True, "Searchable", message)
    if outlook.hindrance:
        return Finding("Ready", False, outlook.hindrance.reason, f"{outlook.hindrance.message}.")
    if outlook.run:
        tries = f" (try {outlook.run.attempt})" if outlook.run.attempt > 1 else ""
        return Finding(
            "Ready", False, "Syncing", f"The first sync, {outlook.run.name}, is running{tries}."
        )
    if outlook.last and outlook.last.failure:
        said = outlook.last.failure
        message = f"The first sync failed: {said.message}.{_next_try(outlook)}"
        return Finding("Ready", False, said.reason, message)
    return Finding(
        "Ready", False, "NotSynced", f"No sync has made a collection yet.{_next_try(outlook)}"
    )


def _synced(serving: _Serving, outlook: Outlook) -> Finding:
    last, run = outlook.last, outlook.run
    if run:
        return _syncing(run, routine=bool(serving.collection) and not outlook.pending_request)
    if outlook.hindrance:
        return Finding("Synced", False, outlook.hindrance.reason, f"{outlook.hindrance.message}.")
    if last is None:
        return Finding("Synced", False, "NotSynced", f"No sync has run yet.{_next_try(outlook)}")
    if last.complete:
        total = _count(serving.documents.get("total", 0), "document")
        ended = timestamp(last.finished)
        message = f"The index follows the bucket ({total}) as of {ended}.{_next_try(outlook)}"
        return Finding("Synced", True, "UpToDate", message)
    if last.failure:
        reason = last.failure.reason
        ended = f"Sync {last.name} (try {last.attempt}) failed: {last.failure.message}."
    else:
        reason = "Incomplete"
        waiting = _count(serving.documents.get("pending", 0), "document")
        ended = f"Sync {last.name} ended with {waiting} still to index."
    return Finding("Synced", False, reason, ended + _next_try(outlook))


def _syncing(run: UnderWay, *, routine: bool) -> Finding:
    if run.cause == "interval" and routine:
        return Finding("Synced", True, "Checking", f"Sync {run.name} looks for changes.")
    cause = _CAUSES.get(run.cause, "a sync was due")
    return Finding("Synced", False, "Running", f"Sync {run.name} is running: {cause}.")


def _degraded(index: RagIndex, serving: _Serving, outlook: Outlook) -> list[Finding]:
    last, run = outlook.last, outlook.run
    if run and run.attempt > 1:
        return []  # a retry is no news: what was found stays until the run has ended
    if last and last.failure:
        return [
            Finding(
                "Degraded", True, "SyncFailed", f"The last sync failed: {last.failure.message}."
            )
        ]
    failed = serving.documents.get("failed", 0)
    if failed:
        message = (
            f"{_count(failed, 'document')} of {serving.documents.get('total', 0)} could not be "
            f"indexed; `nexus documents --index {index.metadata.name} "
            f"-n {index.metadata.namespace} --failed` tells why."
        )
        return [Finding("Degraded", True, "DocumentsFailed", message)]
    return [Finding("Degraded", False, "Healthy", "No trouble is known.")]


def _next_try(outlook: Outlook) -> str:
    return f" The next sync starts at {timestamp(outlook.next_at)}." if outlook.next_at else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


_CAUSES = {
    "first": "it is the first",
    "changed": "the spec has changed",
    "requested": "somebody asked for it",
    "interval": "its interval has passed",
    "retry": "the one before did not end well",
}
