"""The reconcile of what all indexes share; there is no resource, and so no status, for it."""

from dataclasses import replace
from datetime import timedelta

from pydantic import ValidationError

from nexus_api.meta import API_VERSION, Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.cluster.protocol import Cluster
from nexus_operator.plan.platform import plan_platform
from nexus_operator.reconcile.diff import needs_apply, stamped
from nexus_operator.reconcile.observe import observe_platform
from nexus_operator.reconcile.witness import Witness
from nexus_operator.settings import Settings


async def reconcile_platform(cluster: Cluster, settings: Settings) -> tuple[timedelta | None, int]:
    """Bring the listener on the bucket in line with the indexes.

    Returns when to look again, and the number of writes.  Raises ClusterErrors.
    """
    if settings.events.source == "none":
        return None, 0
    witness = Witness(cluster)
    seen = await observe_platform(witness, settings)
    seen = replace(seen, missing=witness.missing)
    indexes = [
        _readable(one)
        for namespace in settings.watch_namespaces or (None,)
        for one in await cluster.list(API_VERSION, "RagIndex", namespace=namespace)
    ]
    plan = plan_platform([one for one in indexes if one is not None], settings, seen)
    writes = 0
    for wanted in plan.apply:
        if needs_apply(wanted, seen.child(wanted["kind"], wanted["metadata"]["name"])):
            await cluster.apply(stamped(wanted))
            writes += 1
    for one in plan.delete:
        await cluster.delete(one.ref, uid=one.uid or None)
        writes += 1
    return plan.requeue_after, writes


def _readable(manifest: Manifest) -> RagIndex | None:
    """Return the index, None for one that this release cannot read: it says so itself."""
    try:
        return RagIndex.model_validate({**manifest, "apiVersion": API_VERSION, "kind": "RagIndex"})
    except ValidationError:
        return None
