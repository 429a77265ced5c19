"""Which pods a Deployment should make and end now, and its status; pure."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.node.pod_status import condition, is_ready, trouble
from nexus_local.store.objects import timestamp

HASH_LABEL = "pod-template-hash"
_PROGRESS_DEADLINE = 600


@dataclass(frozen=True, slots=True)
class Rollout:
    """create: number of new pods.  delete: names of pods to end."""

    create: int
    delete: tuple[str, ...]


def template_hash(deployment: Manifest) -> str:
    """Return what tells the pods of this template from those of an earlier one."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def replicas(deployment: Manifest) -> int:
    """Return the number of pods that are wanted."""
    return int(deployment["spec"].get("replicas", 1))


def is_current(deployment: Manifest, pod: Manifest) -> bool:
    """Say whether a pod was made from the template as it is now."""
    return bool(pod["metadata"]["labels"].get(HASH_LABEL) == template_hash(deployment))


def plan(deployment: Manifest, pods: list[Manifest]) -> Rollout:
    """Decide the next step from the old template's pods to the new one's, and to their number.

    pods: those that the Deployment owns, ending ones too.
    """
    if "deletionTimestamp" in deployment["metadata"]:
        return Rollout(0, ())
    wanted = replicas(deployment)
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    new = [pod for pod in staying if is_current(deployment, pod)]
    old = [pod for pod in staying if not is_current(deployment, pod)]
    strategy = deployment["spec"].get("strategy") or {}
    surplus = _least_useful(new)[: max(0, len(new) - wanted)]
    if strategy.get("type") == "Recreate":
        ending = any(not is_current(deployment, pod) for pod in pods)
        create = 0 if ending else max(0, wanted - len(new))
        return Rollout(create, _names([*old, *surplus]))
    surge, unavailable = _limits(strategy.get("rollingUpdate") or {}, wanted)
    create = max(0, min(wanted - len(new), wanted + surge - len(staying)))
    least = wanted - unavailable
    # Old pods that do not serve may go as soon as enough others are there or on their way.
    coming = sum(not is_ready(pod) for pod in new)
    idle = [pod for pod in old if not is_ready(pod)][: max(0, len(staying) - least - coming)]
    serving = sum(is_ready(pod) for pod in staying)
    spare = [pod for pod in old if is_ready(pod)][: max(0, serving - least)]
    return Rollout(create, _names([*idle, *spare, *surplus]))


def _least_useful(pods: list[Manifest]) -> list[Manifest]:
    """Order pods so that those whose end costs least come first: not ready, then youngest."""
    youngest = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
    return sorted(youngest, key=is_ready)


def _names(pods: list[Manifest]) -> tuple[str, ...]:
    return tuple(pod["metadata"]["name"] for pod in pods)


def _limits(rolling: Manifest, wanted: int) -> tuple[int, int]:
    """Return (maxSurge, maxUnavailable) as numbers of pods; never both 0."""
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _share(value: Any, of: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        scaled = int(value[:-1]) * of
        return -(-scaled // 100) if up else scaled // 100
    return int(value)


def pod_of(deployment: Manifest, suffix: str) -> Manifest:
    """Build the next pod of the template."""
    template, metadata = deployment["spec"]["template"], deployment["metadata"]
    revision = template_hash(deployment)
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{revision}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": {**(given.get("labels") or {}), HASH_LABEL: revision},
            "annotations": dict(given.get("annotations") or {}),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": template["spec"],
    }


def status(
    deployment: Manifest, pods: list[Manifest], now: datetime
) -> tuple[Manifest, float | None]:
    """Return the status, and after how many seconds it changes by itself."""
    wanted = replicas(deployment)
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    ready = sum(is_ready(pod) for pod in staying)
    new = [pod for pod in staying if is_current(deployment, pod)]
    counts = {
        "replicas": len(staying),
        "updatedReplicas": len(new),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
    }
    before = deployment.get("status") or {}
    available = _available(deployment, staying, ready, before, now)
    done = len(new) == len(staying) == wanted and sum(is_ready(pod) for pod in new) == wanted
    progressing, later = _progressing(deployment, counts, done, before, now)
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        **counts,
        "conditions": [available, progressing],
    }, later


def _available(
    deployment: Manifest, pods: list[Manifest], ready: int, before: Manifest, now: datetime
) -> Manifest:
    wanted = replicas(deployment)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    holds = ready >= wanted - (_limits(rolling, wanted)[1] if wanted > 1 else 0)
    reason = "MinimumReplicasAvailable" if holds else "MinimumReplicasUnavailable"
    troubles = [f"{pod['metadata']['name']}: {why}" for pod in pods if (why := trouble(pod))]
    message = f"{ready} of {wanted} replicas are ready"
    if troubles:
        message += "; " + "; ".join(troubles[:3])
    return condition("Available", holds, reason, message, before.get("conditions") or (), now)


def _progressing(
    deployment: Manifest, counts: Manifest, done: bool, before: Manifest, now: datetime
) -> tuple[Manifest, float | None]:
    conditions = before.get("conditions") or ()
    last: Manifest = next((c for c in conditions if c["type"] == "Progressing"), {})
    same_spec = before.get("observedGeneration") == deployment["metadata"]["generation"]
    moved = not same_spec or any(before.get(key) != value for key, value in counts.items())
    since = timestamp(now) if moved else last.get("lastUpdateTime", timestamp(now))
    deadline = deployment["spec"].get("progressDeadlineSeconds") or _PROGRESS_DEADLINE
    left = datetime.fromisoformat(since) + timedelta(seconds=deadline) - now
    if done:
        holds, reason, message, later = (
            True,
            "NewReplicaSetAvailable",
            "all replicas are ready",
            None,
        )
    elif left > timedelta():
        holds, reason, message = True, "ReplicaSetUpdated", "waiting for replicas to become ready"
        later = left.total_seconds()
    else:
        holds, reason, later = False, "ProgressDeadlineExceeded", None
        message = f"no progress for {deadline} seconds"
    made = condition("Progressing", holds, reason, message, conditions, now)
    return {**made, "lastUpdateTime": since}, later
