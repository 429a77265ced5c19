"""Deployments: their pods are made, ended and counted."""

import secrets
from collections.abc import Callable
from datetime import datetime

from nexus_api.meta import Manifest
from nexus_local.node import rollout
from nexus_local.node.informer import Key
from nexus_operator.cluster.errors import AlreadyExists, NotFound
from nexus_operator.cluster.protocol import Cluster, Ref

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Deployments:
    """Brings the pods of a Deployment to what it asks for, one step at each call."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        """Read and write through `cluster`."""
        self._cluster = cluster
        self._clock = clock

    async def reconcile(self, key: Key) -> float | None:
        """Take the next step; returns the seconds until the status changes by itself."""
        ref = Ref("apps/v1", "Deployment", *key)
        deployment = await self._cluster.get(ref)
        if deployment is None:
            return None  # its pods went with it
        pods = await self._pods(deployment)
        step = rollout.plan(deployment, pods)
        for name in step.delete:
            await self._cluster.delete(Ref("v1", "Pod", key[0], name))
        for _ in range(step.create):
            await self._create(deployment)
        if step.create or step.delete:
            pods = await self._pods(deployment)
        status, later = rollout.status(deployment, pods, self._clock())
        if status != deployment.get("status"):
            try:
                await self._cluster.patch(ref, {"status": status}, subresource="status")
            except NotFound:
                return None
        return later

    async def _pods(self, deployment: Manifest) -> list[Manifest]:
        metadata = deployment["metadata"]
        found = await self._cluster.list("v1", "Pod", namespace=metadata["namespace"])
        return [pod for pod in found if owner_uid(pod) == metadata["uid"]]

    async def _create(self, deployment: Manifest) -> None:
        suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
        try:
            await self._cluster.create(rollout.pod_of(deployment, suffix))
        except AlreadyExists:
            await self._create(deployment)


def owner_uid(pod: Manifest) -> str:
    """Return the uid of the Deployment that made a pod; empty for any other pod."""
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference["kind"] == "Deployment" and reference.get("controller"):
            return str(reference["uid"])
    return ""


def owner_key(pod: Manifest) -> Key | None:
    """Return the key of the Deployment that made a pod."""
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference["kind"] == "Deployment" and reference.get("controller"):
            return pod["metadata"]["namespace"], reference["name"]
    return None
