"""The reconcile of what all indexes and jobs share; there is no resource, and no status, for it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import API_VERSION, Manifest, Resource
from nexus_api.ragindex import RagIndex
from nexus_operator.cluster.protocol import Cluster
from nexus_operator.plan.alerts import plan_alerts
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.plan.platform import plan_platform
from nexus_operator.reconcile.diff import needs_apply, stamped
from nexus_operator.reconcile.observe import observe_alerts, observe_platform
from nexus_operator.reconcile.witness import Witness
from nexus_operator.settings import Settings

R = TypeVar("R", bound=Resource)


async def reconcile_platform(cluster: Cluster, settings: Settings) -> tuple[timedelta | None, int]:
    """Bring the listeners on the bucket and on alerts in line with the indexes and the jobs.

    Returns when to look again, and the number of writes.  Raises ClusterErrors.
    """
    waits: list[timedelta] = []
    writes = 0
    if settings.events.source != "none":
        witness = Witness(cluster)
        seen = await observe_platform(witness, settings)
        seen = replace(seen, missing=witness.missing)
        indexes = await _all(cluster, settings, "RagIndex", RagIndex.model_validate)
        plan = plan_platform(indexes, settings, seen)
        writes += await _carry_out(cluster, plan, seen)
        waits += [plan.requeue_after] if plan.requeue_after else []
    if settings.events.alerts:
        witness = Witness(cluster)
        seen = await observe_alerts(witness, settings)
        seen = replace(seen, missing=witness.missing)
        jobs = await _all(cluster, settings, "FineTuneJob", FineTuneJob.model_validate)
        plan = plan_alerts(jobs, settings, seen)
        writes += await _carry_out(cluster, plan, seen)
        waits += [plan.requeue_after] if plan.requeue_after else []
    return min(waits, default=None), writes


async def _carry_out(cluster: Cluster, plan: Plan, seen: Seen) -> int:
    writes = 0
    for wanted in plan.apply:
        if needs_apply(wanted, seen.child(wanted["kind"], wanted["metadata"]["name"])):
            await cluster.apply(stamped(wanted))
            writes += 1
    for one in plan.delete:
        await cluster.delete(one.ref, uid=one.uid or None)
        writes += 1
    return writes


async def _all(
    cluster: Cluster, settings: Settings, kind: str, parse: Callable[[Manifest], R]
) -> list[R]:
    """Return all resources of a kind but those that this release cannot read: they say so."""
    found: list[R] = []
    for namespace in settings.watch_namespaces or (None,):
        for one in await cluster.list(API_VERSION, kind, namespace=namespace):
            try:
                found.append(parse({**one, "apiVersion": API_VERSION, "kind": kind}))
            except ValidationError:
                continue
    return found
