"""The kinds that a run is judged by, and how the API server names them in paths."""

from typing import NamedTuple


class KindPath(NamedTuple):
    """One kind; every one here lives in namespaces."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of its objects, in one namespace or in all."""
        root = "apis" if "/" in self.api_version else "api"
        scope = f"/namespaces/{namespace}" if namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"/{root}/{self.api_version}{scope}/{self.plural}{tail}"


_OURS = "llmops.nexus/v1alpha1"
_ARGO = "argoproj.io/v1alpha1"

ALL = (
    KindPath(_OURS, "RagIndex", "ragindexes"),
    KindPath(_OURS, "ServingModel", "servingmodels"),
    KindPath(_OURS, "FineTuneJob", "finetunejobs"),
    KindPath(_ARGO, "Workflow", "workflows"),
    KindPath(_ARGO, "EventSource", "eventsources"),
    KindPath(_ARGO, "Sensor", "sensors"),
    KindPath("apps/v1", "Deployment", "deployments"),
    KindPath("v1", "Service", "services"),
    KindPath("v1", "ConfigMap", "configmaps"),
    KindPath("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    KindPath("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    KindPath("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    KindPath("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
)
BY_KIND = {one.kind: one for one in ALL}
BY_PLURAL = {one.plural: one for one in ALL}
OURS = frozenset(one.kind for one in ALL if one.api_version == _OURS)
CLAIMED_ELSEWHERE = frozenset({"kube-root-ca.crt"})
"""Objects that the cluster itself puts into namespaces."""


def argo_definitions() -> list[dict[str, object]]:
    """Return definitions of Argo's kinds that admit whatever has their form.

    What Argo makes of an object is scripted here; that our objects are right for Argo is tested
    where Argo runs.
    """
    return [_definition(one, status=one.kind != "Workflow") for one in ALL if one[0] == _ARGO]


def _definition(kind: KindPath, *, status: bool) -> dict[str, object]:
    group, version = kind.api_version.split("/")
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower()},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": open_schema},
                    **({"subresources": {"status": {}}} if status else {}),
                }
            ],
        },
    }
