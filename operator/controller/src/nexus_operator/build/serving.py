"""The Deployment of one revision of a ServingModel, and the Service in front of the live one."""

import json
from collections.abc import Mapping

from nexus_api.meta import GROUP, MODEL_LABEL, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.metadata import labels, owner_reference
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.naming import child_name
from nexus_operator.settings import ResourceProfile, Settings

TEMPLATE = f"{GROUP}/template"
"""Annotation of a Deployment: the pod template it was released with, as JSON."""

SERVICE_PORT = 80

_USER = 65532


def deployment_name(model: ServingModel, revision: str) -> str:
    """Return the name of a revision's Deployment."""
    return child_name(model.metadata.name, revision)


def selector(model: ServingModel, revision: str) -> dict[str, str]:
    """Return the labels that select the pods of one revision."""
    return {MODEL_LABEL: model.metadata.name, REVISION_LABEL: revision}


def pod_template(
    model: ServingModel,
    revision: str,
    container: Manifest,
    settings: Settings,
    profile: ResourceProfile,
) -> Manifest:
    """Build the pod template of a runtime, which PodSecurity `restricted` admits."""
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {
                "name": "models",
                "persistentVolumeClaim": {"claimName": settings.model_cache.claim},
            },
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if profile.node_selector:
        spec["nodeSelector"] = dict(profile.node_selector)
    if profile.tolerations:
        spec["tolerations"] = [dict(one) for one in profile.tolerations]
    if profile.runtime_class:
        spec["runtimeClassName"] = profile.runtime_class
    return {"metadata": {"labels": _labels(model, revision)}, "spec": spec}


def deployment(
    model: ServingModel, revision: str, template: Manifest, *, replicas: int
) -> Manifest:
    """Build the Deployment of one revision around its pod template."""
    spec: Manifest = {
        "replicas": replicas,
        "progressDeadlineSeconds": 2400,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": selector(model, revision)},
        "template": template,
    }
    if model.spec.release.strategy == "Recreate":
        spec["strategy"] = {"type": "Recreate"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(model, revision),
            "namespace": model.metadata.namespace,
            "labels": _labels(model, revision),
            "annotations": {TEMPLATE: json.dumps(template, sort_keys=True, separators=(",", ":"))},
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "spec": spec,
    }


def service(model: ServingModel, revision: str) -> Manifest:
    """Build the Service whose address stays while revisions come and go."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": model.metadata.name,
            "namespace": model.metadata.namespace,
            "labels": labels(model, owner_label=MODEL_LABEL, component="runtime"),
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "spec": {
            "selector": selector(model, revision),
            "ports": [
                {"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}
            ],
        },
    }


def released_template(annotations: Mapping[str, str]) -> Manifest | None:
    """Return the pod template that a Deployment was released with, None when nobody can tell."""
    try:
        template = json.loads(annotations.get(TEMPLATE, ""))
    except ValueError:
        return None
    return template if isinstance(template, dict) and "spec" in template else None


def _labels(model: ServingModel, revision: str) -> dict[str, str]:
    shared = labels(model, owner_label=MODEL_LABEL, component="runtime")
    return {**shared, REVISION_LABEL: revision}
