"""The Triton runtime as a container, with the model repository of its vLLM backend.

The repository's two files are annotations of the pod, shown as files by a downwardAPI volume: so
they are part of the pod template that a revision was released with, and need no object of their
own that could be missing, changed or left over.  An init container copies them to where Triton
reads them, with the chat template that came with the weights.
"""

import json
from collections.abc import Mapping

from nexus_api.meta import GROUP, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.container import TMP, Runtime, environment, flags, probe, restricted
from nexus_operator.build.fetch import folder, init_containers, pipelines_container
from nexus_operator.build.vllm import (
    HOURS_TO_LOAD,
    models,
    offline,
    shared_memory,
    shared_memory_mounts,
)
from nexus_operator.settings import ResourceProfile, Settings

HTTP_PORT = 8000
GRPC_PORT = 8001
METRICS_PORT = 8002

REPOSITORY = "/repository"
_STATED = "/stated"
"""Where the init container finds the files that are stated here."""

_ANNOTATIONS = {
    "config.pbtxt": f"{GROUP}/triton-config",
    "1/model.json": f"{GROUP}/triton-engine",
}

_INPUTS = (
    ("text_input", "TYPE_STRING", 1, False),
    ("stream", "TYPE_BOOL", 1, True),
    ("sampling_parameters", "TYPE_STRING", 1, True),
    ("exclude_input_in_output", "TYPE_BOOL", 1, True),
    ("return_finish_reason", "TYPE_BOOL", 1, True),
    ("return_num_input_tokens", "TYPE_BOOL", 1, True),
    ("return_num_output_tokens", "TYPE_BOOL", 1, True),
)
_OUTPUTS = (
    ("text_output", "TYPE_STRING", -1),
    ("finish_reason", "TYPE_STRING", -1),
    ("num_input_tokens", "TYPE_UINT32", 1),
    ("num_output_tokens", "TYPE_UINT32", -1),
)


def runtime(model: ServingModel, settings: Settings, profile: ResourceProfile) -> Runtime:
    """Build the container that serves the model; its probes allow two hours to load it."""
    ports = {"http": HTTP_PORT, "grpc": GRPC_PORT, "metrics": METRICS_PORT}
    container: Manifest = {
        "name": "triton",
        "image": settings.images.triton,
        "command": ["tritonserver"],
        "args": flags({"--model-repository": REPOSITORY, "--exit-timeout-secs": "30"}.items()),
        "env": environment(**offline()),
        "ports": [
            {"name": name, "containerPort": number, "protocol": "TCP"}
            for name, number in ports.items()
        ],
        "startupProbe": probe("/v2/health/ready", period=5, failures=HOURS_TO_LOAD // 5, timeout=5),
        "readinessProbe": probe("/v2/health/ready", period=5, failures=3, timeout=5),
        "livenessProbe": probe("/v2/health/live", period=15, failures=8, timeout=15),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [
            models(settings),
            TMP,
            {"name": "repository", "mountPath": REPOSITORY, "readOnly": True},
            *shared_memory_mounts(profile),
        ],
    }
    resources = profile.resources()
    weights = folder(settings, model.spec.model.uri, model.spec.model.revision)
    files = repository_files(model, profile, weights)
    return Runtime(
        container={**container, "resources": resources} if resources else container,
        init=(*init_containers(model, settings), _write_repository(model, settings, weights)),
        volumes=(_stated(), {"name": "repository", "emptyDir": {}}, *shared_memory(profile)),
        annotations={_ANNOTATIONS[path]: text for path, text in files.items()},
        progress_seconds=HOURS_TO_LOAD,
    )


def repository_files(
    model: ServingModel, profile: ResourceProfile, weights: str
) -> Mapping[str, str]:
    """Return the files of the model in a repository, by their path below its folder."""
    engine = {
        "model": weights,
        "dtype": "auto",
        "max_model_len": model.spec.runtime.context_tokens,
        "max_num_seqs": model.spec.runtime.slots,
        "tensor_parallel_size": max(1, profile.gpus()),
    }
    return {
        "config.pbtxt": config_text(model.metadata.name),
        "1/model.json": json.dumps(engine, sort_keys=True),
    }


def config_text(name: str, backend: str = "vllm") -> str:
    """Return the configuration of a model that streams text, in Triton's own notation."""
    inputs = ",\n".join(
        f'  {{ name: "{one}" data_type: {kind} dims: [ {size} ]'
        + (" optional: true }" if optional else " }")
        for one, kind, size, optional in _INPUTS
    )
    outputs = ",\n".join(
        f'  {{ name: "{one}" data_type: {kind} dims: [ {size} ] }}' for one, kind, size in _OUTPUTS
    )
    return (
        f'name: "{name}"\n'
        f'backend: "{backend}"\n'
        "max_batch_size: 0\n"
        "model_transaction_policy { decoupled: true }\n"
        f"input [\n{inputs}\n]\n"
        f"output [\n{outputs}\n]\n"
        # The engine itself says which GPUs it uses.
        "instance_group [ { count: 1 kind: KIND_MODEL } ]\n"
    )


def _write_repository(model: ServingModel, settings: Settings, weights: str) -> Manifest:
    folder = f"{REPOSITORY}/{model.metadata.name}"
    arguments = {"--weights": weights, "--config": _STATED, "--to": folder}
    return pipelines_container(
        "write-repository",
        ["triton-repository", *flags(arguments.items())],
        settings,
        models(settings),
        {"name": "stated", "mountPath": _STATED, "readOnly": True},
        {"name": "repository", "mountPath": REPOSITORY},
    )


def _stated() -> Manifest:
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for path, annotation in _ANNOTATIONS.items()
    ]
    return {"name": "stated", "downwardAPI": {"items": items}}
