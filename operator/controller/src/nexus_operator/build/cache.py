"""The model cache of a runtime: the volume of its pods, and the claim where each model has one."""

from nexus_api.meta import MODEL_LABEL, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.metadata import labels, owner_reference
from nexus_operator.naming import child_name
from nexus_operator.settings import ModelCache


def volume(model: ServingModel, cache: ModelCache) -> Manifest:
    """Build the volume `models` of a runtime's pods."""
    if cache.mode == "ephemeral":
        claimed = _claimed(cache, "ReadWriteOnce")
        return {"name": "models", "ephemeral": {"volumeClaimTemplate": {"spec": claimed}}}
    name = cache.claim if cache.mode == "shared" else claim_name(model)
    return {"name": "models", "persistentVolumeClaim": {"claimName": name}}


def claim_name(model: ServingModel) -> str:
    """Return the name of the claim that belongs to one model."""
    return child_name(model.metadata.name, "models")


def claim(model: ServingModel, cache: ModelCache) -> Manifest:
    """Build the claim of one model, which pods on many nodes mount at the same time."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(model),
            "namespace": model.metadata.namespace,
            "labels": labels(model, owner_label=MODEL_LABEL, component="runtime"),
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "spec": _claimed(cache, "ReadWriteMany"),
    }


def _claimed(cache: ModelCache, access: str) -> Manifest:
    spec: Manifest = {
        "accessModes": [access],
        "resources": {"requests": {"storage": cache.size}},
    }
    return {**spec, "storageClassName": cache.storage_class} if cache.storage_class else spec
