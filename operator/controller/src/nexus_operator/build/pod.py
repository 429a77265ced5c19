"""The pod template of a runtime."""

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.cache import volume
from nexus_operator.build.container import Runtime
from nexus_operator.build.revision import revision_labels, selector
from nexus_operator.settings import ResourceProfile, Settings

_USER = 65532


def pod_template(
    model: ServingModel,
    revision: str,
    runtime: Runtime,
    settings: Settings,
    profile: ResourceProfile,
) -> Manifest:
    """Build the pod template of a runtime, which PodSecurity `restricted` admits."""
    security: Manifest = {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": security,
        "containers": [runtime.container],
        "volumes": [
            volume(model, settings.model_cache),
            {"name": "tmp", "emptyDir": {}},
            *runtime.volumes,
        ],
    }
    if runtime.init:
        spec["initContainers"] = list(runtime.init)
    if profile.node_selector:
        spec["nodeSelector"] = dict(profile.node_selector)
    if profile.tolerations:
        spec["tolerations"] = [dict(one) for one in profile.tolerations]
    if profile.runtime_class:
        spec["runtimeClassName"] = profile.runtime_class
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if settings.on_kubernetes:
        spec |= _for_many_nodes(model, revision, runtime)
        security["fsGroupChangePolicy"] = "OnRootMismatch"
    metadata: Manifest = {"labels": revision_labels(model, revision)}
    if runtime.annotations:
        metadata["annotations"] = dict(runtime.annotations)
    return {"metadata": metadata, "spec": spec}


def _for_many_nodes(model: ServingModel, revision: str, runtime: Runtime) -> Manifest:
    """Return what matters only where there are nodes to spread over and to be moved between."""
    pause: Manifest = {"sleep": {"seconds": runtime.drain_seconds}}
    if runtime.answered:
        told = f"sleep {runtime.drain_seconds}; {runtime.answered}"
        pause = {"exec": {"command": ["sh", "-c", told]}}
    drained = {**runtime.container, "lifecycle": {"preStop": pause}}
    return {
        "containers": [drained],
        "terminationGracePeriodSeconds": runtime.drain_seconds + runtime.end_seconds,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(model, revision)},
            }
        ],
    }
