"""The llama.cpp runtime as a container; it fetches the weights itself."""

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_api.uri import Uri, parse_uri
from nexus_operator.build.container import (
    METRICS_PORT,
    TMP,
    Runtime,
    credentials,
    environment,
    flags,
    metrics_port,
    open_places,
    probe,
    restricted,
)
from nexus_operator.settings import ResourceProfile, Settings

PORT = 8080
ANSWERS_PORT = 8079
"""Open once the model has answered a first question, which it does before anybody else may ask."""


def runtime(model: ServingModel, settings: Settings, profile: ResourceProfile) -> Runtime:
    """Build the container that serves the model; its probes allow half an hour to load it."""
    spec = model.spec
    arguments = {
        "--model-uri": _address(model),
        "--quantization": spec.model.quantization,
        "--served-name": model.metadata.name,
        "--context-tokens": str(spec.runtime.context_tokens),
        "--slots": str(spec.runtime.slots),
    }
    # One adapter at most: the rules of the resource say so.
    for adapter in spec.model.adapters:
        arguments["--adapter-uri"] = adapter.uri
        if adapter.digest:
            arguments["--adapter-digest"] = adapter.digest
    container: Manifest = {
        "name": "llamacpp",
        "image": settings.images.llamacpp,
        "command": ["nexus-runtime-llamacpp"],
        "args": flags(arguments.items()),
        "env": environment(
            NEXUS_HOST="0.0.0.0",  # noqa: S104 - a pod has its own address
            NEXUS_PORT=str(PORT),
            NEXUS_PORT_ANSWERS=str(ANSWERS_PORT),
            NEXUS_MODEL_CACHE=settings.model_cache.path,
            **open_places(settings),
            **({"NEXUS_PORT_METRICS": str(METRICS_PORT)} if settings.scrape else {}),
        ),
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "answers", "containerPort": ANSWERS_PORT, "protocol": "TCP"},
            *([metrics_port()] if settings.scrape else []),
        ],
        "startupProbe": {
            "tcpSocket": {"port": "answers"},
            "periodSeconds": 1,
            "failureThreshold": 1800,
            "timeoutSeconds": 5,
        },
        "readinessProbe": probe("/health", period=5, failures=3, timeout=5),
        "livenessProbe": probe("/health", period=10, failures=6, timeout=10),
        # The node keeps the end of the log, so that the model's condition can say what went wrong.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [{"name": "models", "mountPath": settings.model_cache.path}, TMP],
        **credentials(settings),
    }
    resources = profile.resources()
    return Runtime(container={**container, "resources": resources} if resources else container)


def _address(model: ServingModel) -> str:
    """Return the model's URI, with the revision that the spec names beside it."""
    source = model.spec.model
    if not source.revision:
        return source.uri
    uri = parse_uri(source.uri)
    return str(Uri(uri.scheme, uri.name, source.revision, uri.path))
