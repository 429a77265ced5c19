"""The reconcile of what all indexes and jobs share; there is no resource, and no status, for it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import API_VERSION, Resource
from nexus_api.ragindex import RagIndex
from nexus_operator.cluster.errors import Forbidden
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

    One that the platform no longer has goes: its bus could else not go.  Returns when to look
    again, and the number of writes.  Raises ClusterErrors.
    """
    bucket, alerts = settings.events.source != "none", settings.events.alerts
    plans: list[tuple[Plan, Seen]] = []
    if (seen := await _seen(cluster, settings, observe_platform, wanted=bucket)) is not None:
        indexes = await _all(cluster, settings, "RagIndex", RagIndex, wanted=bucket)
        plans.append((plan_platform(indexes, settings, seen), seen))
    if (seen := await _seen(cluster, settings, observe_alerts, wanted=alerts)) is not None:
        jobs = await _all(cluster, settings, "FineTuneJob", FineTuneJob, wanted=alerts)
        plans.append((plan_alerts(jobs, settings, seen), seen))
    writes = 0
    for plan, seen in plans:
        writes += await _carry_out(cluster, plan, seen)
    return min((one.requeue_after for one, _ in plans if one.requeue_after), default=None), writes


async def _seen(
    cluster: Cluster,
    settings: Settings,
    observe: Callable[[Cluster, Settings], Awaitable[Seen]],
    *,
    wanted: bool,
) -> Seen | None:
    """Return a listener as it is, None for one that is not `wanted` and may not be looked at."""
    if not wanted and not settings.on_kubernetes:
        return None
    witness = Witness(cluster)
    try:
        seen = await observe(witness, settings)
    except Forbidden:
        if wanted:
            raise
        return None
    return replace(seen, missing=witness.missing)


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
    cluster: Cluster, settings: Settings, kind: str, shape: type[R], *, wanted: bool
) -> list[R]:
    """Return all resources of a kind but those that this release cannot read: they say so.

    None of them where they are not `wanted`.
    """
    found: list[R] = []
    for namespace in (settings.watch_namespaces or (None,)) if wanted else ():
        for one in await cluster.list(API_VERSION, kind, namespace=namespace):
            try:
                found.append(shape.model_validate({**one, "apiVersion": API_VERSION, "kind": kind}))
            except ValidationError:
                continue
    return found
