"""Metrics of the controller."""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter(
    "nexus_reconcile_total",
    "Reconciles by kind and result: changed, unchanged, conflict, error.",
    ["kind", "result"],
)
SECONDS = Histogram("nexus_reconcile_seconds", "Duration of a reconcile.", ["kind"])
WAITING = Gauge("nexus_reconcile_waiting", "Resources that wait to be reconciled.")
WATCH_BREAKS = Counter(
    "nexus_watch_breaks_total", "Watches that broke and were started again.", ["kind", "reason"]
)
EVENTS_DROPPED = Counter(
    "nexus_events_dropped_total", "Kubernetes Events not posted, since too many waited."
)
