"""Where the objects of the builders are put, and how they are asked about."""

from pathlib import Path
from typing import Any

NAMESPACE = "builders"
ROOT = Path(__file__).parents[3]
BUILT = {path.stem: path for path in sorted((ROOT / "tests/unit/operator/golden").glob("*.yaml"))}
PLURALS = {
    "Deployment": "deployments",
    "Service": "services",
    "ConfigMap": "configmaps",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "NetworkPolicy": "networkpolicies",
    "Workflow": "workflows",
    "WorkflowTemplate": "workflowtemplates",
    "ClusterWorkflowTemplate": "clusterworkflowtemplates",
    "EventSource": "eventsources",
    "Sensor": "sensors",
    "PodMonitor": "podmonitors",
}
STRICT = {"fieldValidation": "Strict", "fieldManager": "test", "force": "true", "dryRun": "All"}
APPLY = {"content-type": "application/apply-patch+yaml"}


def url(one: Any) -> str:
    version = one["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = "" if one["kind"].startswith("Cluster") else f"/namespaces/{NAMESPACE}"
    return f"{root}{place}/{PLURALS[one['kind']]}/{one['metadata']['name']}"
