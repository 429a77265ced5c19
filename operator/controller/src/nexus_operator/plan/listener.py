"""The plan of a listener: an EventSource and its Sensor, one pair for all resources of a kind."""

from collections.abc import Collection

from nexus_api.meta import MANAGED_BY, Manifest
from nexus_operator.build.events import EVENT_SOURCE, SENSOR
from nexus_operator.objects import labels_of
from nexus_operator.plan.looks import LOOK_FOR_KINDS, SETTLED_LOOK
from nexus_operator.plan.model import Plan, Seen, doomed


def plan_listener(wanted: Collection[Manifest], seen: Seen, *, off: bool) -> Plan:
    """Decide on a listener that is to be as `wanted`, or go; there is no status.

    Without Argo Events nothing is done, and it is waited for unless listening is `off`.  What of
    these names is not the operator's stays as it is.
    """
    if seen.missing & {EVENT_SOURCE[1], SENSOR[1]}:
        return Plan(status={}, requeue_after=None if off else LOOK_FOR_KINDS)
    if not wanted:
        return Plan(status={}, delete=doomed(one for one in seen.children if _ours(one)))
    strangers = {one["kind"] for one in seen.children if not _ours(one)}
    return Plan(
        status={},
        apply=tuple(one for one in wanted if one["kind"] not in strangers),
        requeue_after=SETTLED_LOOK,
    )


def _ours(listener: Manifest) -> bool:
    return labels_of(listener).get("app.kubernetes.io/managed-by") == MANAGED_BY
