"""What gives a running vLLM server its adapters: a container beside it, and the file it reads.

The file is a ConfigMap, so that a new version changes no pod: kubelets bring it to the pods within
about a minute, and pods that start, or start again, find it there while no operator runs.
"""

from collections.abc import Iterable

from nexus_api.adapter_loading import (
    READY_PATH,
    WANTED_FILE,
    AdaptersToLoad,
    AdapterToLoad,
    version_name,
)
from nexus_api.meta import MODEL_LABEL, Manifest
from nexus_api.servingmodel import ServedAdapter, ServingModel
from nexus_api.vllm_command import room_for
from nexus_operator.build.container import credentials, flags
from nexus_operator.build.fetch import folder, pipelines_container
from nexus_operator.build.metadata import labels, owner_reference
from nexus_operator.naming import child_name
from nexus_operator.settings import Settings

LOADER = "load-adapters"
"""Name of the container."""

LOADER_PORT = 8081

_WANTED = "/wanted"


def loads_adapters(model: ServingModel) -> bool:
    """Tell whether the model's pods take adapters while they run; other engines restart."""
    return model.spec.engine() == "vllm" and bool(model.spec.model.adapters)


def is_loader(template: Manifest) -> bool:
    """Tell whether a pod, or a template of pods, has the container that loads adapters.

    Revisions of earlier releases have none, and keep their form until something else changes.
    """
    containers = (template.get("spec") or {}).get("initContainers") or []
    return any(one.get("name") == LOADER for one in containers)


def loader(model: ServingModel, settings: Settings, server_port: int) -> Manifest:
    """Build the container beside the server: an init container that goes on (Kubernetes 1.29).

    Nothing in it depends on which adapters there are.  It ends after the server, so an answer that
    is being written when the pod goes keeps its adapter.
    """
    source = model.spec.model
    arguments = {
        "--weights": folder(settings, source.uri, source.revision),
        "--room": str(room_for(model.spec.runtime.max_lora_rank)),
        "--wanted": f"{_WANTED}/{WANTED_FILE}",
        "--server": f"http://127.0.0.1:{server_port}",
        "--port": str(LOADER_PORT),
    }
    built = pipelines_container(
        LOADER,
        [LOADER, *flags(arguments.items())],
        settings,
        {"name": "models", "mountPath": settings.model_cache.path},
        {"name": "wanted", "mountPath": _WANTED, "readOnly": True},
    )
    return {
        **built,
        **credentials(settings),
        "restartPolicy": "Always",
        "ports": [{"name": "adapters", "containerPort": LOADER_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": READY_PATH, "port": "adapters"},
            "periodSeconds": 2,
            "failureThreshold": 2,
            "timeoutSeconds": 5,
        },
    }


def wanted_volume(model: ServingModel) -> Manifest:
    """Build the volume that shows the file in the pods."""
    return {"name": "wanted", "configMap": {"name": adapters_name(model)}}


def adapters_name(model: ServingModel) -> str:
    """Return the name of the ConfigMap of a model's adapters."""
    return child_name(model.metadata.name, "adapters")


def adapters_map(
    model: ServingModel,
    released: Iterable[ServedAdapter],
    served: Iterable[ServedAdapter],
    settings: Settings,
) -> Manifest:
    """Build the ConfigMap: the versions that are released, and those that requests ask for.

    `served` is what the status names.  While another engine answers, its adapters are wanted by
    the names that requests use there, and needed by nobody here.
    """
    found: dict[str, AdapterToLoad] = {}
    answers = model.status.engine == "vllm"
    for adapter, needed in [*((o, answers) for o in served), *((o, False) for o in released)]:
        name = adapter.served_as or adapter.name
        loaded = AdapterToLoad(
            name=name,
            uri=adapter.source,
            digest=adapter.digest,
            folder=folder(settings, adapter.source, adapter.digest),
            needed=needed,
        )
        found.setdefault(name, loaded)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": adapters_name(model),
            "namespace": model.metadata.namespace,
            "labels": labels(model, owner_label=MODEL_LABEL, component="runtime"),
            "ownerReferences": [owner_reference(model, "ServingModel")],
        },
        "data": {WANTED_FILE: AdaptersToLoad(adapters=list(found.values())).text()},
    }


def as_loaded(adapter: ServedAdapter) -> ServedAdapter:
    """Return the adapter under the name that a server is given for this version of it."""
    name = version_name(adapter.name, adapter.source, adapter.digest)
    return adapter.model_copy(update={"served_as": name})
