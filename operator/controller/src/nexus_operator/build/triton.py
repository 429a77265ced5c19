"""The Triton runtime as a container, with the model repository of its vLLM backend.

The repository's files are annotations of the pod, shown as files by a downwardAPI volume: so they
are part of the pod template that a revision was released with, and need no object of their own
that could be missing, changed or left over.  An init container copies them to where Triton reads
them, with the chat template that came with the weights, and looks at the adapters, which the
backend itself opens no sooner than somebody asks for them.
"""

from collections.abc import Mapping

from nexus_api import first_answer, triton_repository
from nexus_api.meta import GROUP, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_api.triton_repository import ADAPTERS, CONFIG, ENGINE
from nexus_operator.build.container import (
    METRICS_PORT,
    TMP,
    Runtime,
    environment,
    flags,
    probe,
    restricted,
)
from nexus_operator.build.fetch import folder, init_containers, pipelines_container
from nexus_operator.build.vllm import (
    ANSWER_SECONDS,
    DRAIN_SECONDS,
    HOURS_TO_LOAD,
    first_answer_probe,
    models,
    offline,
    shared_memory,
    shared_memory_mounts,
)
from nexus_operator.settings import ResourceProfile, Settings

HTTP_PORT = 8000
GRPC_PORT = 8001

REPOSITORY = "/repository"
_STATED = "/stated"
"""Where the init container finds the files that are stated here."""

_ANNOTATIONS = {
    CONFIG: f"{GROUP}/triton-config",
    ENGINE: f"{GROUP}/triton-engine",
    ADAPTERS: f"{GROUP}/triton-adapters",
}


def runtime(model: ServingModel, settings: Settings, profile: ResourceProfile) -> Runtime:
    """Build the container that serves the model; its probes allow two hours to load it."""
    adapters = [one.name for one in model.spec.model.adapters]
    ports = {"http": HTTP_PORT, "grpc": GRPC_PORT, "metrics": METRICS_PORT}
    arguments = {
        "--model-repository": REPOSITORY,
        "--exit-timeout-secs": str(ANSWER_SECONDS),  # of which Triton takes what answers need
    }
    container: Manifest = {
        "name": "triton",
        "image": settings.images.triton,
        "command": ["tritonserver"],
        "args": flags(arguments.items()),
        "env": environment(**offline()),
        "ports": [
            {"name": name, "containerPort": number, "protocol": "TCP"}
            for name, number in ports.items()
        ],
        "startupProbe": first_answer_probe(
            first_answer.probe_command(
                first_answer.TRITON, HTTP_PORT, model.metadata.name, adapters
            ),
            answers=1 + len(adapters),
        ),
        "readinessProbe": probe("/v2/health/ready", period=5, failures=3, timeout=5),
        "livenessProbe": {
            "exec": {"command": ["sh", "-c", alive(f"{REPOSITORY}/{model.metadata.name}")]},
            "periodSeconds": 15,
            "failureThreshold": 8,
            "timeoutSeconds": 15,
        },
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
    files = repository_files(model, settings, profile)
    return Runtime(
        container={**container, "resources": resources} if resources else container,
        init=(*init_containers(model, settings), _write_repository(model, settings, weights)),
        volumes=(_stated(files), {"name": "repository", "emptyDir": {}}, *shared_memory(profile)),
        annotations={_ANNOTATIONS[path]: text for path, text in files.items()},
        progress_seconds=HOURS_TO_LOAD,
        drain_seconds=DRAIN_SECONDS,
        end_seconds=ANSWER_SECONDS + 30,
    )


def alive(model: str, port: int = HTTP_PORT) -> str:
    """Return a shell command that fails when the server hangs or its backend has gone.

    Triton goes on saying that server and model are ready when the process of the backend has died,
    and answers nothing any more.  That process has a file of the `model`'s folder as an argument;
    the brackets keep the command from finding itself.
    """
    url = f"http://127.0.0.1:{port}/v2/health/live"
    return (
        f"grep -aqs '{model}/1/model.p[y]' /proc/[0-9]*/cmdline && "
        f"python3 -c \"from urllib.request import urlopen; urlopen('{url}', timeout=10)\""
    )


def repository_files(
    model: ServingModel, settings: Settings, profile: ResourceProfile
) -> Mapping[str, str]:
    """Return the files of the model in a repository, by their path below its folder."""
    source, runtime = model.spec.model, model.spec.runtime
    return triton_repository.repository_files(
        name=model.metadata.name,
        weights=folder(settings, source.uri, source.revision),
        context_tokens=runtime.context_tokens,
        slots=runtime.slots,
        gpus=profile.gpus(),
        adapters={one.name: folder(settings, one.uri) for one in source.adapters},
        max_rank=runtime.max_lora_rank,
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


def _stated(files: Mapping[str, str]) -> Manifest:
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for path, annotation in _ANNOTATIONS.items()
        if path in files
    ]
    return {"name": "stated", "downwardAPI": {"items": items}}
