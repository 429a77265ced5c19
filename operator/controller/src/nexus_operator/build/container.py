"""What the containers of all runtimes have in common."""

from collections.abc import Iterable
from dataclasses import dataclass

from nexus_api.meta import Manifest
from nexus_operator.settings import Settings

TMP: Manifest = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - an emptyDir of this pod


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What an engine brings into the pods of a revision.

    Attributes:
        container: the server; its name is the engine's.
        init: what runs before it, in order.
        volumes: what it mounts beside the model cache and /tmp.
        annotations: of the pod.
        progress_seconds: after this time without a ready pod the release counts as stuck.
    """

    container: Manifest
    init: tuple[Manifest, ...] = ()
    volumes: tuple[Manifest, ...] = ()
    annotations: Manifest | None = None
    progress_seconds: int = 2400


def restricted() -> Manifest:
    """Return the securityContext that PodSecurity `restricted` asks of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def probe(path: str, *, period: int, failures: int, timeout: int) -> Manifest:
    """Build a probe of the port named `http`; times in seconds."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def environment(**variables: str) -> list[Manifest]:
    """Return the `env` of a container."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def credentials(settings: Settings) -> Manifest:
    """Return the `envFrom` by which a fetcher gets its credentials, where the platform has any."""
    if not settings.model_credentials:
        return {}
    return {"envFrom": [{"secretRef": {"name": settings.model_credentials, "optional": True}}]}


def literal(text: str) -> str:
    """Keep the kubelet from expanding `$(NAME)` in what a user wrote."""
    return text.replace("$(", "$$(")


def flags(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return arguments as `--name value`, what users wrote taken literally."""
    return [literal(part) for pair in pairs for part in pair]
