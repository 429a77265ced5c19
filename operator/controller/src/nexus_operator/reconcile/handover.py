"""Giving a field away before it is left out: what its only owner no longer applies goes.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import Conflict
from nexus_operator.cluster.protocol import FIELD_MANAGER, Cluster
from nexus_operator.objects import ref_of, uid_of

HANDOVER = f"{FIELD_MANAGER}-handover"
"""Whose the number of replicas is until an autoscaler changes it, and so makes it its own."""


async def hand_over(cluster: Cluster, wanted: Manifest, present: Manifest | None) -> int:
    """Keep the replicas of a Deployment that is `wanted` without their number, else they fall to 1.

    Returns the number of writes.  Raises what the cluster raises, but for the autoscaler's having
    said another number meanwhile.
    """
    if present is None or wanted["kind"] != "Deployment" or "replicas" in wanted["spec"]:
        return 0
    ref = ref_of(wanted)
    kept: Manifest = {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": uid_of(present)},
        "spec": {"replicas": present["spec"].get("replicas", 1)},
    }
    try:
        await cluster.apply(kept, manager=HANDOVER, force=False)
    except Conflict:
        return 0
    return 1
