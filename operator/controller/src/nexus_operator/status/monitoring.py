"""Whether Prometheus is told of a model's runtimes."""

from nexus_api.meta import GROUP, Manifest
from nexus_operator.objects import name_of
from nexus_operator.status.conditions import Finding

PROMETHEUS_OPERATOR_MISSING = "PrometheusOperatorMissing"
"""Reason of the condition Monitored where the cluster has no PodMonitors."""


def monitored_finding(
    monitor: Manifest | None, *, missing: bool, withheld: bool, foreign: bool, told: bool
) -> Finding:
    """Return the condition Monitored; the model serves all the same.

    missing: there is no such kind.  withheld: the operator may not look at it.  foreign: the
    PodMonitor of this name belongs to somebody else.  told: whether the pods that
    answer have the port.
    """
    if missing:
        message = (
            "The Prometheus operator is not installed in the cluster (it has no kind PodMonitor in "
            "monitoring.coreos.com/v1), so nobody is told of the runtime's own metrics: install "
            "it, which is noticed within a minute, or set metrics.serviceMonitor.enabled of the "
            "chart to false."
        )
        return Finding("Monitored", False, PROMETHEUS_OPERATOR_MISSING, message)
    if withheld:
        message = (
            "The operator may not look at PodMonitors here: grant its ServiceAccount the rights of "
            "the chart, which has them with metrics.serviceMonitor.enabled."
        )
        return Finding("Monitored", False, "Forbidden", message)
    if monitor is None:
        return Finding("Monitored", False, "Starting", "The PodMonitor is not there yet.")
    name = name_of(monitor)
    if foreign:
        message = (
            f"PodMonitor {name} is there already and belongs to somebody else, so it is left "
            "alone: delete it, and ours takes its place."
        )
        return Finding("Monitored", False, "NameConflict", message)
    if not told:
        message = (
            "The revision that answers was started without a port for metrics; the next one has "
            f"it, for which {GROUP}/update-requested-at may be set anew."
        )
        return Finding("Monitored", False, "NoMetricsPort", message)
    message = f"PodMonitor {name} tells Prometheus where the runtime's own metrics are."
    return Finding("Monitored", True, "Announced", message)
