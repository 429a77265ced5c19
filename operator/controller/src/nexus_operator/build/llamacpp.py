"""The llama.cpp runtime as a container."""

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_api.uri import Uri, parse_uri
from nexus_operator.settings import ResourceProfile, Settings

PORT = 8080


def container(model: ServingModel, settings: Settings, profile: ResourceProfile) -> Manifest:
    """Build the container that serves the model; its probes allow half an hour to load it."""
    spec = model.spec
    arguments = {
        "--model-uri": _address(model),
        "--quantization": spec.model.quantization,
        "--served-name": model.metadata.name,
        "--context-tokens": str(spec.runtime.context_tokens),
        "--slots": str(spec.runtime.slots),
    }
    built: Manifest = {
        "name": "llamacpp",
        "image": settings.images.llamacpp,
        "command": ["nexus-runtime-llamacpp"],
        "args": [_literal(part) for pair in arguments.items() for part in pair],
        "env": [
            {"name": "NEXUS_HOST", "value": "0.0.0.0"},  # noqa: S104 - a pod has its own address
            {"name": "NEXUS_PORT", "value": str(PORT)},
            {"name": "NEXUS_MODEL_CACHE", "value": settings.model_cache.path},
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe(period=1, failures=1800, timeout=5),
        "readinessProbe": _probe(period=5, failures=3, timeout=5),
        "livenessProbe": _probe(period=10, failures=6, timeout=10),
        # The node keeps the end of the log, so that the model's condition can say what went wrong.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "models", "mountPath": settings.model_cache.path},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of this pod
        ],
    }
    resources = profile.resources()
    return {**built, "resources": resources} if resources else built


def _address(model: ServingModel) -> str:
    """Return the model's URI, with the revision that the spec names beside it."""
    source = model.spec.model
    if not source.revision:
        return source.uri
    uri = parse_uri(source.uri)
    return str(Uri(uri.scheme, uri.name, source.revision, uri.path))


def _probe(*, period: int, failures: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": "/health", "port": "http"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def _literal(text: str) -> str:
    """Keep the kubelet from expanding `$(NAME)` in what a user wrote."""
    return text.replace("$(", "$$(")
