"""What an autoscaler tells of itself."""

from nexus_api.meta import Manifest
from nexus_api.servingmodel import Autoscaling
from nexus_operator.status.conditions import Finding


def autoscaling_finding(
    wanted: Autoscaling, autoscaler: Manifest | None, *, offered: bool
) -> Finding:
    """Say whether load decides the number of replicas, and why not if so.

    `offered` is whether the platform has autoscalers at all.
    """
    bounds = f"between {wanted.min_replicas} and {wanted.max_replicas} replicas"
    if not offered:
        message = f"Autoscaling needs Kubernetes: here the model runs with {wanted.min_replicas}."
        return Finding("Autoscaling", False, "NotOffered", message)
    told = {
        one["type"]: one for one in ((autoscaler or {}).get("status") or {}).get("conditions") or []
    }
    active = told.get("ScalingActive")
    if active is None:
        message = f"The autoscaler has not looked yet; the bounds are {bounds}."
        return Finding("Autoscaling", False, "Starting", message)
    if active.get("status") != "True":
        said = str(active.get("message") or "it gave no message").strip().rstrip(".")
        message = f"The model keeps {bounds}, but load cannot be read: {said}."
        return Finding("Autoscaling", False, str(active.get("reason") or "NotActive"), message)
    message = f"Load decides {bounds}: {wanted.target_concurrency} requests in flight for each."
    return Finding("Autoscaling", True, "Active", message)
