"""The PodMonitor by which the Prometheus operator learns of a model's runtimes."""

import re

from nexus_api.meta import MODEL_LABEL, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.container import METRICS
from nexus_operator.build.guards import guard_name
from nexus_operator.build.metadata import labels, owner_reference
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.settings import Scrape

POD_MONITOR = ("monitoring.coreos.com/v1", "PodMonitor")

_REVISION = f"__meta_kubernetes_pod_label_{re.sub('[^A-Za-z0-9]', '_', REVISION_LABEL)}"
"""The label of a pod as Prometheus calls it when it finds the pod."""


def pod_monitor(model: ServingModel, scrape: Scrape) -> Manifest:
    """Build the PodMonitor: all pods of the model, whatever their revision and engine."""
    meta = model.metadata
    endpoint = {
        "port": METRICS,
        "path": "/metrics",
        "interval": scrape.interval,
        "relabelings": [
            # The gateway's metrics have the first two, too.
            {"targetLabel": "tenant", "replacement": meta.namespace},
            {"targetLabel": "model", "replacement": meta.name},
            {"targetLabel": "revision", "sourceLabels": [_REVISION]},
        ],
    }
    ours = labels(model, owner_label=MODEL_LABEL, component="runtime")
    return {
        "apiVersion": POD_MONITOR[0],
        "kind": POD_MONITOR[1],
        "metadata": {
            "name": guard_name(model),
            "namespace": meta.namespace,
            "labels": {**scrape.labels, **ours},
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "spec": {
            "selector": {"matchLabels": {MODEL_LABEL: meta.name}},
            "podMetricsEndpoints": [endpoint],
        },
    }


def tells_metrics(template: Manifest) -> bool:
    """Tell whether pods of a template have the port.

    Those that were started before anybody asked for it have none: they are not restarted for it.
    """
    spec = template.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    ports = (port for one in containers for port in one.get("ports") or ())
    return any(port.get("name") == METRICS for port in ports)
