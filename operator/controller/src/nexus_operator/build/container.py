"""What the containers of all runtimes have in common."""

from collections.abc import Iterable
from dataclasses import dataclass

from nexus_api.meta import Manifest
from nexus_operator.settings import Settings

METRICS = "metrics"
METRICS_PORT = 8002
"""The port of every engine on which nothing but metrics is answered, and its name."""

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
        drain_seconds: on a cluster a pod that is going serves on for so long before its server is
            told: gateways hear of it late, and keep connections.
        answered: a shell command that comes then and ends once nothing is being answered any more;
            empty for a server that ends so by itself.
        end_seconds: what that and the server have to end.
    """

    container: Manifest
    init: tuple[Manifest, ...] = ()
    volumes: tuple[Manifest, ...] = ()
    annotations: Manifest | None = None
    progress_seconds: int = 2400
    drain_seconds: int = 20
    answered: str = ""
    end_seconds: int = 40


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


def metrics_port() -> Manifest:
    """Return the port of a container that tells metrics."""
    return {"name": METRICS, "containerPort": METRICS_PORT, "protocol": "TCP"}


def environment(**variables: str) -> list[Manifest]:
    """Return the `env` of a container."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def open_places(settings: Settings) -> dict[str, str]:
    """Return the variables by which what opens addresses is told which of them it may."""
    told = {
        "NEXUS_MODEL_FILE_ROOTS": _joined(":", settings.model_file_roots),
        "NEXUS_MODEL_PACKAGES": _joined(",", settings.model_packages),
    }
    return {name: value for name, value in told.items() if value is not None}


def _joined(mark: str, names: tuple[str, ...] | None) -> str | None:
    return None if names is None else mark.join(names)


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
