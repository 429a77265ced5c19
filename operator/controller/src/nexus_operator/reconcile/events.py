"""Kubernetes Events: what happened to a resource, for `kubectl describe`."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import AlreadyExists, ClusterError
from nexus_operator.cluster.protocol import Cluster, Ref
from nexus_operator.naming import short_hash
from nexus_operator.objects import ref_of, uid_of
from nexus_operator.reconcile.metrics import EVENTS_DROPPED
from nexus_operator.status.conditions import Transition, timestamp

MOST = 1000
"""Events that may wait."""

PAUSE = timedelta(milliseconds=20)
YIELDS = 100
"""Pauses after which an Event is posted although there is other work."""

_LONGEST_NOTE = 1024

log = logging.getLogger(__name__)


class Recorder:
    """Posts Events in the background, one after another and not too many a second.

    In a burst the children of resources come first; what does not fit is dropped and counted.
    """

    def __init__(self, cluster: Cluster, busy: Callable[[], bool] = lambda: False) -> None:
        """Take the cluster; while there is more urgent work, `busy`, an Event waits a little."""
        self._cluster = cluster
        self._busy = busy
        self._waiting: asyncio.Queue[tuple[Manifest, Transition, datetime]] = asyncio.Queue(MOST)

    async def record(self, resource: Manifest, event: Transition, now: datetime) -> None:
        """Have an Event posted soon; returns at once."""
        metadata = {name: resource["metadata"].get(name) for name in ("namespace", "name", "uid")}
        about = {**{k: resource[k] for k in ("apiVersion", "kind")}, "metadata": metadata}
        try:
            self._waiting.put_nowait((about, event, now))
        except asyncio.QueueFull:
            EVENTS_DROPPED.inc()

    async def run(self) -> None:
        """Post what is recorded, for ever."""
        while True:
            about, event, now = await self._waiting.get()
            for _ in range(YIELDS):
                await asyncio.sleep(PAUSE.total_seconds())
                if not self._busy():
                    break
            await post_event(self._cluster, about, event, now)


async def post_event(
    cluster: Cluster, resource: Manifest, event: Transition, now: datetime
) -> None:
    """Record an Event; the same one again counts up the first while the cluster keeps it.

    It is news, not truth, so a failure to record it stops nothing.
    """
    wanted = _event(resource, event, timestamp(now))
    try:
        await cluster.create(wanted)
    except AlreadyExists:
        await _count_up(cluster, ref_of(wanted), timestamp(now))
    except ClusterError as problem:
        log.warning(
            "%s: the event %s was not recorded: %s", ref_of(resource), event.reason, problem
        )


async def _count_up(cluster: Cluster, ref: Ref, at: str) -> None:
    try:
        there = await cluster.get(ref)
        if there is not None and there.get("lastTimestamp") != at:
            again = {"count": int(there.get("count") or 1) + 1, "lastTimestamp": at}
            await cluster.patch(ref, again)
    except ClusterError as problem:
        log.warning("%s could not be counted up: %s", ref, problem)


def _event(resource: Manifest, event: Transition, at: str) -> Manifest:
    ref, uid = ref_of(resource), uid_of(resource)
    name = f"{ref.name}.{short_hash(uid, event.type, event.reason, event.message)}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": ref.api_version,
            "kind": ref.kind,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": f"{event.type}: {event.message}"[:_LONGEST_NOTE],
        "source": {"component": "nexus-operator"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
