"""What a Deployment and its pods tell: how many are ready, and what keeps the others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from nexus_api.meta import Manifest
from nexus_operator.objects import moment, name_of
from nexus_operator.status.failure import Failure

NO_ROOM = frozenset({"Unschedulable", "FailedCreate"})
"""Reasons that mean the cluster has no place for a pod: no node that fits, or a quota."""

_BENIGN = frozenset({"", "ContainerCreating", "PodInitializing"})

_TRIES = 2
"""Restarts after which a failing container is one that keeps failing; the first comes at once."""

_LONG_RUN = timedelta(minutes=10)
"""After a run of this length the kubelet, too, forgets the failures before."""

_LONGEST_LINE = 300


@dataclass(frozen=True)
class Strength:
    """How many replicas of one Deployment there are; `full` when all of them answer."""

    wanted: int
    existing: int
    ready: int
    full: bool


def strength(deployment: Manifest | None) -> Strength:
    """Return the numbers of a Deployment; one that is not there has no replicas."""
    if deployment is None:
        return Strength(wanted=1, existing=0, ready=0, full=False)
    wanted = int((deployment.get("spec") or {}).get("replicas", 1))
    status = deployment.get("status") or {}
    ready = int(status.get("readyReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    generation = int(deployment["metadata"].get("generation") or 0)
    current = int(status.get("observedGeneration") or 0) >= generation
    return Strength(
        wanted=wanted,
        existing=int(status.get("replicas") or 0),
        ready=ready,
        full=current and ready >= wanted and updated >= wanted,
    )


def answers(pod: Manifest) -> bool:
    """Tell whether a pod takes requests; one that is ending does so until its containers stop."""
    return any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in _conditions(pod)
    )


def over(pod: Manifest) -> bool:
    """Tell whether a pod has ended for good; its address may be another one's by now."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def trouble(deployment: Manifest | None, pods: Iterable[Manifest]) -> Failure | None:
    """Return the first reason that keeps a pod from being ready, as Kubernetes words it."""
    for pod in sorted(pods, key=name_of):
        found = _unschedulable(pod) or _container_trouble(pod) or _ended(pod)
        if found:
            return found
    for condition in _conditions(deployment or {}):
        kind, status = condition.get("type"), condition.get("status")
        failing = (kind == "ReplicaFailure" and status == "True") or (
            kind == "Progressing" and status == "False"
        )
        if failing:
            return Failure(
                _word(condition), _clause(condition) or "the Deployment makes no progress"
            )
    return None


def _unschedulable(pod: Manifest) -> Failure | None:
    for condition in _conditions(pod):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said = _clause(condition) or "no node takes it"
            if "persistentvolumeclaim" in said.lower():
                return Failure(
                    "PersistentVolumeClaimPending",
                    f"pod {name_of(pod)} waits for its volume: {said}. The claim must exist, and "
                    "its StorageClass must offer the access mode (ReadWriteMany, where replicas "
                    "on several nodes share it)",
                )
            return Failure(_word(condition), f"pod {name_of(pod)} has no node: {said}")
    return None


def _container_trouble(pod: Manifest) -> Failure | None:
    status = pod.get("status") or {}
    containers: Sequence[Manifest] = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    for container in containers:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if container.get("ready"):
            continue
        where = f"container `{container.get('name', '')}` of pod {name_of(pod)}"
        last = container.get("lastState") or {}
        ended = state.get("terminated") or last.get("terminated") or {}
        if reason in _BENIGN:
            if not _keeps_ending(container, ended):
                continue
            reason = "CrashLoopBackOff"
        if ended.get("reason") == "OOMKilled":
            return Failure("OOMKilled", f"{where} was killed for want of memory")
        if reason == "CrashLoopBackOff" and ended:
            return Failure(reason, f"{where} keeps ending {_ending(ended)}")
        return Failure(reason, f"{where} cannot start: {_clause(waiting) or reason}")
    return None


def _keeps_ending(container: Manifest, ended: Manifest) -> bool:
    """Tell whether a container that runs again, or is about to, has failed soon each time.

    Between two waits it looks like one that starts for the first time: without this the reason
    would come and go with each try.  A server that a probe told to end has no exit code, but words.
    """
    failed = ended.get("exitCode") or ended.get("message")
    if int(container.get("restartCount") or 0) < _TRIES or not failed:
        return False
    begun, over = moment(ended.get("startedAt")), moment(ended.get("finishedAt"))
    return begun is None or over is None or over - begun < _LONG_RUN


def _ended(pod: Manifest) -> Failure | None:
    status = pod.get("status") or {}
    if status.get("phase") != "Failed":
        return None
    said = _clause(status) or "it gave no message"
    return Failure(_word(status), f"pod {name_of(pod)} failed: {said}")


def _ending(terminated: Manifest) -> str:
    said = _last_line(_clause(terminated))
    return f"with exit code {terminated.get('exitCode', '?')}" + (f": {said}" if said else "")


def _conditions(holder: Manifest) -> Iterator[Manifest]:
    yield from (holder.get("status") or {}).get("conditions") or []


def _last_line(text: str) -> str:
    """Return what a program said last: a termination message may be the end of a whole log."""
    line = text.rpartition("\n")[2].strip().rstrip(".")
    return line if len(line) <= _LONGEST_LINE else f"…{line[-_LONGEST_LINE:]}"


def _word(told: Manifest) -> str:
    return str(told.get("reason") or "Failed")


def _clause(told: Manifest) -> str:
    return str(told.get("message") or "").strip().rstrip(".")
