"""The end of what has data in the stores: its runs stop, its data goes, then it is released."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import FINALIZER, FORCE_RELEASE, Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.build.run import run_name, shutdown
from nexus_operator.clock import past
from nexus_operator.objects import name_of
from nexus_operator.plan.looks import LOOK_FOR_KINDS, SHORTEST_WAIT
from nexus_operator.plan.model import Doomed, Plan, Seen, doomed
from nexus_operator.plan.schedule import back_off
from nexus_operator.status.conditions import Finding, merge, timestamp, transitions
from nexus_operator.status.pods import over
from nexus_operator.status.runs import Run, has_ended, is_teardown, read_run

LOOK_AGAIN = timedelta(seconds=5)

NO_WORKFLOWS = "ArgoWorkflowsMissing"

STOPPING, FAILED = "Stopping", "TeardownFailed"
"""Reasons of Ready while its runs are stopped and its data goes, and between two tries."""

RELEASED = "Released"
"""Reason of Ready from when its data is released until the resource is gone."""


@dataclass(frozen=True, kw_only=True)
class End:
    """What the ends of the kinds differ in.

    Attributes:
        noun: what a person calls the resource.
        intro: the sentence that its condition begins with.
        uid: by which its Workflows know it.
        left: what stays behind when a person lets it go, as a sentence.
        empty: whether it has nothing in the stores.
        lets_runs_end: whether a run is told to end and waited for before it is deleted: what it
            does when it is killed still writes.
        workflow: builds a teardown of a name, and which try it is.
    """

    resource: RagIndex | FineTuneJob
    noun: str
    intro: str
    uid: str
    left: str
    empty: bool
    lets_runs_end: bool
    workflow: Callable[[str, int], Manifest]

    @property
    def way_out(self) -> str:
        """Say how to let it go without its stores."""
        return (
            f"If its stores are gone for good, let the {self.noun} go by setting its annotation "
            f'{FORCE_RELEASE} to "true".'
        )


def plan_end(end: End, seen: Seen, now: datetime) -> Plan:
    """Decide what is left to do for a resource that is being deleted.

    Runs are stopped first; the teardown runs when none is left, nor a pod of one: Argo calls a run
    over while a pod that had just been started has its grace, in which it may write.  A teardown
    that fails is tried again for ever, unless the annotation `llmops.nexus/force-release: "true"`
    lets go.
    """
    workflows = seen.of_kind("Workflow")
    everything = doomed(workflows)
    if FINALIZER not in end.resource.metadata.finalizers:
        return _plan(end, now, STOPPING, "Its data is released.", delete=everything)
    if message := _lets_go_at_once(end):
        return _plan(end, now, RELEASED, message, delete=everything, remove_finalizer=True)
    if "Workflow" in seen.missing:
        message = (
            "Argo Workflows, which would remove its data, is not installed in the cluster. "
            f"{end.way_out}"
        )
        return _plan(end, now, NO_WORKFLOWS, message, requeue_after=LOOK_FOR_KINDS)
    runs = [one for one in workflows if not is_teardown(one)]
    if runs:
        return _stop(end, runs, now)
    tries = [read_run(one, now=now) for one in workflows]
    tries = [run for run in tries if run.parameters.get("uid") == end.uid]
    if _released(end) or any(run.state == "succeeded" for run in tries):
        # The status says so first: the run that tells it goes before the finalizer does.
        message = "Its data is released."
        return _plan(end, now, RELEASED, message, delete=everything, remove_finalizer=True)
    writing = sorted(name_of(pod) for pod in seen.of_kind("Pod") if not over(pod))
    return _next_try(end, tries, writing, now)


def _lets_go_at_once(end: End) -> str:
    """Return what is said of a resource that needs no teardown, "" for one that does."""
    if end.resource.metadata.annotations.get(FORCE_RELEASE) == "true":
        return f"Released by annotation; {end.left}."
    return "It has no data to release." if end.empty else ""


def _stop(end: End, runs: Sequence[Manifest], now: datetime) -> Plan:
    told = [one for one in runs if end.lets_runs_end and not has_ended(one)]
    over = doomed(one for one in runs if one not in told)
    message = "Its runs are being stopped."
    return _plan(end, now, STOPPING, message, apply=tuple(map(shutdown, told)), delete=over)


def _released(end: End) -> bool:
    """Tell whether a teardown has succeeded before, though its run may be gone."""
    conditions = end.resource.status.conditions
    return any(one.type == "Ready" and one.reason == RELEASED for one in conditions)


def _next_try(end: End, tries: Sequence[Run], writing: Sequence[str], now: datetime) -> Plan:
    if writing and not tries:
        message = f"Its data goes when the pod {writing[0]} of a run has ended. {end.way_out}"
        return _plan(end, now, STOPPING, message)
    # Not by age: one that was made while a clock was ahead would be the newest for long.
    last = max(tries, key=lambda run: run.attempt, default=None)
    if last is not None and last.state == "running":
        message = f"Teardown {last.name} is running."
        if last.attempt > 1:
            message += f" It is try {last.attempt}. {end.way_out}"
        return _plan(end, now, STOPPING, message)
    if last is not None:
        at = min(past(last.finished or now, now), now) + back_off(last.attempt)
        if at > now:
            said = last.failure.message if last.failure else "no step says why"
            message = (
                f"Teardown {last.name} failed: {said}. The next try starts at {timestamp(at)}. "
                f"{end.way_out}"
            )
            wait = max(at - now, SHORTEST_WAIT)
            return _plan(end, now, FAILED, message, requeue_after=wait)
    name = run_name(end.resource, "teardown", after=last.name if last else "")
    run = end.workflow(name, last.attempt + 1 if last else 1)
    return _plan(end, now, STOPPING, f"Teardown {name} is starting.", create=(run,))


def _plan(
    end: End,
    now: datetime,
    reason: str,
    message: str,
    *,
    create: tuple[Manifest, ...] = (),
    apply: tuple[Manifest, ...] = (),
    delete: tuple[Doomed, ...] = (),
    remove_finalizer: bool = False,
    requeue_after: timedelta = LOOK_AGAIN,
) -> Plan:
    resource = end.resource
    generation = resource.metadata.generation
    old = [one.manifest() for one in resource.status.conditions]
    finding = Finding("Ready", False, reason, f"{end.intro} {message}")
    conditions = merge(old, [finding], generation=generation, now=now)
    return Plan(
        status={"observedGeneration": generation, "conditions": conditions},
        create=create,
        apply=apply,
        delete=delete,
        remove_finalizer=remove_finalizer,
        events=transitions(old, conditions),
        requeue_after=requeue_after,
    )
