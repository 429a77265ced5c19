"""What guards a runtime on a cluster: a disruption budget, an autoscaler, a network policy."""

from collections.abc import Mapping

from nexus_api.meta import MODEL_LABEL, PART_OF, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.container import METRICS_PORT
from nexus_operator.build.loading import LOADER_PORT, loads_adapters
from nexus_operator.build.metadata import labels, owner_reference
from nexus_operator.build.serving import deployment_name
from nexus_operator.naming import child_name
from nexus_operator.settings import Settings

GATEWAY_LABELS = {
    "app.kubernetes.io/component": "gateway",
    "app.kubernetes.io/part-of": PART_OF,
}
"""Labels of the gateway's pods in the platform's namespace; the chart sets them."""

OPERATOR_LABELS = {**GATEWAY_LABELS, "app.kubernetes.io/component": "operator"}

IN_FLIGHT = "nexus_gateway_requests_in_flight"
"""Metric of the gateway by `tenant` and `model`, which an adapter offers as an external metric."""

GUARDS = {
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "NetworkPolicy": "networking.k8s.io/v1",
}
"""The kinds of this module with their API versions."""


def guard_name(model: ServingModel) -> str:
    """Return the name of a model's guards, one of each kind."""
    return child_name(model.metadata.name, "runtime")


def disruption_budget(model: ServingModel) -> Manifest:
    """Build the budget: a node that is drained takes one replica at a time.

    Replicas that do not answer anyway may always go, and a single replica, too: it would else hold
    the drain up for ever.
    """
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {MODEL_LABEL: model.metadata.name}},
    }
    return _guard(model, "PodDisruptionBudget", spec)


def network_policy(model: ServingModel, settings: Settings) -> Manifest:
    """Build the policy: the gateway reaches the runtime, and nobody else does.

    Runtimes have no keys, and vLLM takes adapters from whoever reaches it: here its own pod, by
    loopback.  The gateway passes on no such request.  Where adapters are loaded, the operator may
    ask the container that loads them.  Where metrics are read, Prometheus reaches the port that
    tells nothing else: by a policy all that a port answers is open, or nothing.
    What they may call is left to the policies of the namespace: weights come from a hub or a store
    that only its administrator knows.
    """
    namespace = {"kubernetes.io/metadata.name": settings.platform_namespace}

    def our(pods: Mapping[str, str]) -> Manifest:
        return {
            "namespaceSelector": {"matchLabels": namespace},
            "podSelector": {"matchLabels": dict(pods)},
        }

    ingress: list[Manifest] = [{"from": [our(GATEWAY_LABELS)]}]
    if loads_adapters(model):
        port = {"port": LOADER_PORT, "protocol": "TCP"}
        ingress.append({"from": [our(OPERATOR_LABELS)], "ports": [port]})
    if settings.scrape is not None:
        readers = {"namespaceSelector": dict(settings.scrape.namespaces)}
        port = {"port": METRICS_PORT, "protocol": "TCP"}
        ingress.append({"from": [readers], "ports": [port]})
    spec = {
        "podSelector": {"matchLabels": {MODEL_LABEL: model.metadata.name}},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }
    return _guard(model, "NetworkPolicy", spec)


def autoscaler(model: ServingModel, revision: str) -> Manifest:
    """Build the autoscaler of the revision that is live; the model must have `autoscaling`."""
    scaling = model.spec.autoscaling
    if scaling is None:
        raise ValueError(f"{model.metadata.name} has no spec.autoscaling")
    labelled = {"tenant": model.metadata.namespace, "model": model.metadata.name}
    metric = {
        "metric": {"name": IN_FLIGHT, "selector": {"matchLabels": labelled}},
        "target": {"type": "AverageValue", "averageValue": str(scaling.target_concurrency)},
    }
    spec = {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": deployment_name(model, revision),
        },
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [{"type": "External", "external": metric}],
    }
    return _guard(model, "HorizontalPodAutoscaler", spec)


def _guard(model: ServingModel, kind: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": GUARDS[kind],
        "kind": kind,
        "metadata": {
            "name": guard_name(model),
            "namespace": model.metadata.namespace,
            "labels": labels(model, owner_label=MODEL_LABEL, component="runtime"),
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "spec": spec,
    }
