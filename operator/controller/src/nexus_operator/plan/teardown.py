"""The end of a RagIndex: its syncs stop, its data outside Kubernetes goes, then it is released."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from nexus_api.meta import FINALIZER, FORCE_RELEASE, Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.build.workflow import run_name, teardown_workflow
from nexus_operator.objects import name_of
from nexus_operator.plan.model import Doomed, Plan, Seen, doomed
from nexus_operator.plan.schedule import back_off
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding, merge, timestamp, transitions
from nexus_operator.status.runs import Run, newest_first, read_run

LOOK_AGAIN = timedelta(seconds=5)

NO_WORKFLOWS = "ArgoWorkflowsMissing"
LOOK_FOR_KINDS = timedelta(minutes=1)
"""How soon to look whether Argo Workflows is back."""

RELEASED = "Released"
"""Reason of Ready from when its data is released until the index is gone."""

_SHORTEST_WAIT = timedelta(seconds=1)

_WAY_OUT = (
    "If its stores are gone for good, let the index go by setting its annotation "
    f'{FORCE_RELEASE} to "true".'
)


def plan_teardown(index: RagIndex, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Decide what is left to do for a RagIndex that is being deleted.

    Syncs are stopped first; the teardown runs when none is left; a teardown that fails is tried
    again for ever, unless the annotation `llmops.nexus/force-release: "true"` lets go.
    """
    workflows = seen.of_kind("Workflow")
    everything = doomed(workflows)
    if FINALIZER not in index.metadata.finalizers:
        return _plan(index, now, "Stopping", "Its data is released.", delete=everything)
    if index.metadata.annotations.get(FORCE_RELEASE) == "true":
        message = "Released by annotation; vectors and ledger rows may be left behind."
        return _plan(index, now, RELEASED, message, delete=everything, remove_finalizer=True)
    if "Workflow" in seen.missing:
        message = (
            "Argo Workflows, which would remove its data, is not installed in the cluster. "
            f"{_WAY_OUT}"
        )
        return _plan(index, now, NO_WORKFLOWS, message, requeue_after=LOOK_FOR_KINDS)
    runs = newest_first(read_run(one, now=now) for one in workflows)
    syncs = {run.name for run in runs if run.what == "sync"}
    if syncs:
        stopped = doomed(one for one in workflows if name_of(one) in syncs)
        return _plan(index, now, "Stopping", "Its sync runs are being stopped.", delete=stopped)
    tries = [run for run in runs if run.parameters.get("uid") == index.metadata.uid]
    if _released(index) or any(run.state == "succeeded" for run in tries):
        # The status says so first: the run that tells it goes before the finalizer does.
        message = "Its data is released."
        return _plan(index, now, RELEASED, message, delete=everything, remove_finalizer=True)
    return _next_try(index, tries, settings, now)


def _released(index: RagIndex) -> bool:
    """Tell whether a teardown has succeeded before, though its run may be gone."""
    return any(one.type == "Ready" and one.reason == RELEASED for one in index.status.conditions)


def _next_try(index: RagIndex, tries: Sequence[Run], settings: Settings, now: datetime) -> Plan:
    last = tries[0] if tries else None
    if last is not None and last.state == "running":
        message = f"Teardown {last.name} is running."
        if last.attempt > 1:
            message += f" It is try {last.attempt}. {_WAY_OUT}"
        return _plan(index, now, "Stopping", message)
    if last is not None:
        at = min(last.finished or now, now) + back_off(last.attempt)
        if at > now:
            said = last.failure.message if last.failure else "no step says why"
            message = (
                f"Teardown {last.name} failed: {said}. The next try starts at {timestamp(at)}. "
                f"{_WAY_OUT}"
            )
            wait = max(at - now, _SHORTEST_WAIT)
            return _plan(index, now, "TeardownFailed", message, requeue_after=wait)
    name = run_name(index, "teardown", after=last.name if last else "")
    attempt = last.attempt + 1 if last else 1
    run = teardown_workflow(index, settings, name=name, attempt=attempt)
    return _plan(index, now, "Stopping", f"Teardown {name} is starting.", create=(run,))


def _plan(
    index: RagIndex,
    now: datetime,
    reason: str,
    message: str,
    *,
    create: tuple[Manifest, ...] = (),
    delete: tuple[Doomed, ...] = (),
    remove_finalizer: bool = False,
    requeue_after: timedelta = LOOK_AGAIN,
) -> Plan:
    old = [one.manifest() for one in index.status.conditions]
    finding = Finding("Ready", False, reason, f"The index is being deleted. {message}")
    conditions = merge(old, [finding], generation=index.metadata.generation, now=now)
    return Plan(
        status={
            "observedGeneration": index.metadata.generation,
            "conditions": conditions,
        },
        create=create,
        delete=delete,
        remove_finalizer=remove_finalizer,
        events=transitions(old, conditions),
        requeue_after=requeue_after,
    )
