"""Metrics of the controller."""

from contextlib import suppress

from prometheus_client import Counter, Gauge, Histogram

from nexus_api.servingmodel import ServingModel

RECONCILES = Counter(
    "nexus_reconcile_total",
    "Reconciles by kind and result: changed, unchanged, conflict, error.",
    ["kind", "result"],
)
SECONDS = Histogram("nexus_reconcile_seconds", "Duration of a reconcile.", ["kind"])
WAITING = Gauge("nexus_reconcile_waiting", "Resources that wait to be reconciled.")
MODEL_REPLICAS = Gauge(
    "nexus_servingmodel_replicas",
    "Servers of a ServingModel: `wanted`, the fewest where load decides, and `ready` ones.",
    ["tenant", "model", "state"],
)
WATCH_BREAKS = Counter(
    "nexus_watch_breaks_total", "Watches that broke and were started again.", ["kind", "reason"]
)
EVENTS_DROPPED = Counter(
    "nexus_events_dropped_total", "Kubernetes Events not posted, since too many waited."
)


def show_replicas(namespace: str, name: str, model: ServingModel | None) -> None:
    """Have the metrics say how many servers a model wants and has; None: it is gone."""
    if model is None:
        for state in ("wanted", "ready"):
            with suppress(KeyError):  # never shown
                MODEL_REPLICAS.remove(namespace, name, state)
        return
    scaling = model.spec.autoscaling
    wanted = scaling.min_replicas if scaling else model.spec.replicas
    MODEL_REPLICAS.labels(namespace, name, "wanted").set(wanted)
    MODEL_REPLICAS.labels(namespace, name, "ready").set(model.status.ready_replicas or 0)


def forget_replicas() -> None:
    """Have the metrics speak of no model: whoever leads now does."""
    MODEL_REPLICAS.clear()
