"""The plan of a RagIndex: syncs one after another, and at the end a teardown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from nexus_api.meta import FINALIZER, Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.source import PrefixOutsideNamespace
from nexus_operator.build.events import NAME as LISTENER
from nexus_operator.build.run import run_name
from nexus_operator.build.workflow import sync_workflow, teardown_workflow
from nexus_operator.objects import name_of
from nexus_operator.plan.looks import SETTLED_LOOK, SHORTEST_WAIT
from nexus_operator.plan.model import Doomed, Plan, Seen, doomed
from nexus_operator.plan.schedule import (
    NextSync,
    next_sync,
    open_request,
    requested,
    settings_text,
)
from nexus_operator.plan.teardown import NO_WORKFLOWS, End, plan_end
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding, transitions
from nexus_operator.status.failure import Failure
from nexus_operator.status.history import LastSync, last_sync
from nexus_operator.status.notices import (
    ARGO_EVENTS_MISSING,
    LISTENER_STARTING,
    notified_finding,
)
from nexus_operator.status.ragindex import Outlook, UnderWay, ragindex_status
from nexus_operator.status.runs import Run, newest_first, read_run

LOOK_AGAIN = timedelta(seconds=30)
"""How soon to look at a run whose end should have been heard of."""

_LISTENER_LOOKS = {LISTENER_STARTING: LOOK_AGAIN, ARGO_EVENTS_MISSING: SETTLED_LOOK}
"""How soon to look whether there is a listener now, by why there is none."""

_PASSING = frozenset({"Waiting", NO_WORKFLOWS})
"""Hindrances that go away without a change of the index."""


def plan_ragindex(index: RagIndex, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Decide what the cluster should hold for one RagIndex.  Pure: same inputs, same plan."""
    if index.deleting:
        return plan_end(_end(index, settings), seen, now)
    runs = [read_run(one, now=now) for one in seen.of_kind("Workflow")]
    own = newest_first(
        run
        for run in runs
        if run.what == "sync" and run.parameters.get("uid") == index.metadata.uid
    )
    strangers = [run for run in runs if run.parameters.get("uid") != index.metadata.uid]
    last = last_sync(index, own, now)
    if last is not None and last.state == "running":
        outlook, start = _running(index, last), None
    else:
        outlook, start = _between_runs(
            index, last, _hindrance(index, strangers, seen, settings), now
        )
    outlook = replace(outlook, notified=_notified(index, seen, settings))
    create: tuple[Manifest, ...] = ()
    if start is not None and outlook.run is not None:
        workflow = sync_workflow(
            index,
            settings,
            name=outlook.run.name,
            request=outlook.run.request,
            cause=start.cause,
            attempt=start.attempt,
            spec_json=settings_text(index.spec),
        )
        create = (workflow,)
    status = ragindex_status(index, outlook, now)
    return Plan(
        status=status,
        create=create,
        delete=_worn_out(index, own, strangers, seen, keep=status["lastSyncRun"]),
        add_finalizer=FINALIZER not in index.metadata.finalizers,
        events=transitions(
            [one.manifest() for one in index.status.conditions], status["conditions"]
        ),
        requeue_after=_look_again(outlook, now),
    )


def _end(index: RagIndex, settings: Settings) -> End:
    def workflow(name: str, attempt: int) -> Manifest:
        return teardown_workflow(index, settings, name=name, attempt=attempt)

    return End(
        resource=index,
        noun="index",
        intro="The index is being deleted.",
        uid=index.metadata.uid,
        left="vectors and ledger rows may be left behind",
        empty=False,
        lets_runs_end=False,
        workflow=workflow,
    )


def _running(index: RagIndex, last: LastSync) -> Outlook:
    run = UnderWay(name=last.name, cause=last.cause, request=last.request, attempt=last.attempt)
    return Outlook(last=last, run=run, pending_request=open_request(index, last))


def _between_runs(
    index: RagIndex, last: LastSync | None, hindrance: Failure | None, now: datetime
) -> tuple[Outlook, NextSync | None]:
    if hindrance is not None:
        if last is not None and last.state == "lost":
            last = None  # forgotten: when syncs may go on, its name and request come up again
        waits = "" if last is None else open_request(index, last)
        return Outlook(last=last, hindrance=hindrance, pending_request=waits), None
    due = next_sync(index, last, now)
    waits = "" if last is None else open_request(index, last)
    if due.at > now:
        met = last is not None and last.complete and not waits
        answered = requested(index) if met else ""
        return Outlook(last=last, next_at=due.at, answered=answered, pending_request=waits), None
    if last is not None and last.state == "lost":
        # It may exist after all, with the request of that time: a newer one gets its own run.
        name, request = last.name, last.request
        waits = index.status.pending_request or ""
    else:
        name = run_name(index, "sync", after=last.name if last else "")
        request, waits = requested(index), ""
    run = UnderWay(name=name, cause=due.cause, request=request, attempt=due.attempt)
    return Outlook(last=last, run=run, pending_request=waits), due


def _notified(index: RagIndex, seen: Seen, settings: Settings) -> Finding | None:
    if not settings.on_kubernetes:
        return None  # a laptop sees its own folder
    return notified_finding(
        index, settings.events, seen.reference("Sensor", LISTENER), seen.missing
    )


def _hindrance(
    index: RagIndex, strangers: Sequence[Run], seen: Seen, settings: Settings
) -> Failure | None:
    """Return why no sync may start."""
    if "Workflow" in seen.missing:
        message = "Argo Workflows is not installed in the cluster, and syncs are run by it"
        return Failure(NO_WORKFLOWS, message)
    source = index.spec.source
    if source.suspend:
        message = "Syncs are suspended; set spec.source.suspend to false to go on"
        return Failure("Suspended", message)
    if source.bucket and index.metadata.namespace != settings.platform_namespace:
        message = (
            f"spec.source.bucket names {source.bucket!r}, and syncs run in "
            f"{settings.platform_namespace}, where no Secret of {index.metadata.namespace} can be "
            "read: make the index there, or leave bucket and secretRef out and use the platform's "
            "bucket"
        )
        return Failure("BucketNotOffered", message)
    try:
        index.key_prefix()
    except PrefixOutsideNamespace as problem:
        return Failure("PrefixOutsideNamespace", f"spec.{problem}")
    if strangers:
        message = f"Waiting for {strangers[0].name} of a former index of this name to go"
        return Failure("Waiting", message)
    return None


def _worn_out(
    index: RagIndex,
    own: Sequence[Run],
    strangers: Sequence[Run],
    seen: Seen,
    *,
    keep: str | None,
) -> tuple[Doomed, ...]:
    """Return finished runs beyond those kept, and those that a former index left behind."""
    finished = [run for run in own if run.state != "running"]
    beyond = [run for run in finished[index.spec.retention.runs_kept :] if run.name != keep]
    names = {run.name for run in [*beyond, *_ended_or_sync(strangers)]}
    return doomed(one for one in seen.of_kind("Workflow") if name_of(one) in names)


def _ended_or_sync(strangers: Sequence[Run]) -> list[Run]:
    """A teardown of a former index may end its work; a sync of it has nothing left to do."""
    return [run for run in strangers if run.what == "sync" or run.state != "running"]


def _look_again(outlook: Outlook, now: datetime) -> timedelta | None:
    look = _next_look(outlook, now)
    reason = "" if outlook.notified is None else outlook.notified.reason
    listens = _LISTENER_LOOKS.get(reason)  # nobody tells an index that it is there
    return look if listens is None else min(look or listens, listens)


def _next_look(outlook: Outlook, now: datetime) -> timedelta | None:
    if outlook.next_at is not None:
        return max(outlook.next_at - now, SHORTEST_WAIT)
    if outlook.hindrance is not None and outlook.hindrance.reason not in _PASSING:
        return None
    return LOOK_AGAIN
