"""The Deployment of one revision of a ServingModel, and the Service in front of the live one."""

import json
from collections.abc import Mapping

from nexus_api.meta import GROUP, MODEL_LABEL, Manifest
from nexus_api.servingmodel import Engine as EngineName
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.engines import ENGINES
from nexus_operator.build.metadata import labels, owner_reference
from nexus_operator.build.revision import revision_labels, selector
from nexus_operator.naming import child_name

TEMPLATE = f"{GROUP}/template"
"""Annotation of a Deployment: the pod template it was released with, as JSON."""


def deployment_name(model: ServingModel, revision: str) -> str:
    """Return the name of a revision's Deployment."""
    return child_name(model.metadata.name, revision)


def deployment(
    model: ServingModel,
    revision: str,
    template: Manifest,
    *,
    replicas: int | None,
    progress_seconds: int = 2400,
) -> Manifest:
    """Build the Deployment of one revision around its pod template.

    `replicas` is None where an autoscaler decides: then the number is not ours to apply.
    """
    spec: Manifest = {
        **({} if replicas is None else {"replicas": replicas}),
        "progressDeadlineSeconds": progress_seconds,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": selector(model, revision)},
        "template": template,
    }
    spec["strategy"] = {"type": "RollingUpdate"}
    if model.spec.release.strategy == "Recreate":
        # The defaults of a rolling update, which the server filled in before, have to go.
        spec["strategy"] = {"type": "Recreate", "rollingUpdate": None}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(model, revision),
            "namespace": model.metadata.namespace,
            "labels": revision_labels(model, revision),
            "annotations": {TEMPLATE: json.dumps(template, sort_keys=True, separators=(",", ":"))},
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "spec": spec,
    }


def service(model: ServingModel, revision: str, engine: EngineName) -> Manifest:
    """Build the Service whose address stays while revisions come and go.

    `engine` is that of the revision, which the spec may no longer name.
    """
    spoken = ENGINES[engine]
    port = {"name": spoken.port_name, "port": spoken.port, "targetPort": spoken.port_name}
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
            "ports": [{**port, "protocol": "TCP"}],
        },
    }


def released_template(annotations: Mapping[str, str]) -> Manifest | None:
    """Return the pod template that a Deployment was released with, None when nobody can tell."""
    try:
        template = json.loads(annotations.get(TEMPLATE, ""))
    except ValueError:
        return None
    return template if isinstance(template, dict) and "spec" in template else None
