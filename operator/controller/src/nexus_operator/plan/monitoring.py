"""Telling Prometheus of a model's runtimes, where the platform wants that and the cluster can."""

from datetime import timedelta

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.guards import guard_name
from nexus_operator.build.monitoring import POD_MONITOR, pod_monitor, tells_metrics
from nexus_operator.objects import owner_uids
from nexus_operator.plan.looks import LOOK_FOR_KINDS
from nexus_operator.plan.model import Seen
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding
from nexus_operator.status.monitoring import monitored_finding


def wanted_monitor(model: ServingModel, seen: Seen, settings: Settings) -> tuple[Manifest, ...]:
    """Return the PodMonitor, if it may be made: metrics are no reason for a model not to serve."""
    if settings.scrape is None or _unknown(seen) or _foreign(model, seen):
        return ()
    return (pod_monitor(model, settings.scrape),)


def monitored(
    model: ServingModel, seen: Seen, settings: Settings, template: Manifest | None
) -> Finding | None:
    """Return the condition Monitored, None where metrics are not asked for.

    template: that of the pods that answer, or None before there are any.
    """
    if settings.scrape is None or template is None:
        return None
    return monitored_finding(
        _monitor(model, seen),
        missing=POD_MONITOR[1] in seen.missing,
        withheld=POD_MONITOR[1] in seen.withheld,
        foreign=_foreign(model, seen),
        told=tells_metrics(template),
    )


def look_for_kinds(seen: Seen, otherwise: timedelta) -> timedelta:
    """Return when to look again: no watch tells that a kind has come, or the right to it."""
    return min(LOOK_FOR_KINDS, otherwise) if _unknown(seen) else otherwise


def _unknown(seen: Seen) -> bool:
    return POD_MONITOR[1] in seen.missing | seen.withheld


def _monitor(model: ServingModel, seen: Seen) -> Manifest | None:
    return seen.child(POD_MONITOR[1], guard_name(model))


def _foreign(model: ServingModel, seen: Seen) -> bool:
    found = _monitor(model, seen)
    return found is not None and model.metadata.uid not in owner_uids(found)
