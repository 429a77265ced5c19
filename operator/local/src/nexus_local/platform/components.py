"""The platform's own parts as Kubernetes objects; on a cluster the Helm chart holds the same.

Every address, port and file reaches a process through its environment and arguments alone, so the
same containers run as child processes here and as pods there.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_api.meta import LOCAL_PORT, Manifest
from nexus_local.platform.layout import Layout

NAMESPACE = "nexus-system"
CONFIG_MAP = "nexus-platform"
PLATFORM_SECRET = "nexus-platform"  # noqa: S105 - the name of a Secret, not one
CONTROL_SECRET = "nexus-control"  # noqa: S105 - the name of a Secret, not one
TOKEN_FOLDER = "/var/run/nexus"  # noqa: S105 - a folder
MILVUS_FOLDER = "/var/lib/milvus"
PORTS = {"milvus": 19530, "embedder": 8080, "gateway": 8080, "monitor": 8080}
ENTRY_POINTS = (
    "nexus-gateway",
    "nexus-embedder",
    "nexus-monitor",
    "nexus-runtime-llamacpp",
    "nexus-pipelines",
    "milvus-lite",
)


def parts(*, monitor: bool) -> list[str]:
    """The parts that run: the monitor only where it is wanted."""
    return [name for name in PORTS if monitor or name != "monitor"]


def labels(component: str) -> dict[str, str]:
    """The recommended labels of one part."""
    return {
        "app.kubernetes.io/name": "llmops-nexus",
        "app.kubernetes.io/instance": "nexus",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "llmops-nexus",
    }


def _metadata(name: str, component: str, **more: Any) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(component), **more}


def service(component: str, *, local_port: int | None = None) -> Manifest:
    """The address of one part; `local_port` asks for that very port on this machine."""
    notes = {LOCAL_PORT: str(local_port)} if local_port is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(component, component, **({"annotations": notes} if notes else {})),
        "spec": {
            "selector": {"app.kubernetes.io/component": component},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def services(port: int, *, monitor: bool = False) -> list[Manifest]:
    """The addresses of all parts, the gateway's on the port that was asked for."""
    ports = {"gateway": port}
    return [service(name, local_port=ports.get(name)) for name in parts(monitor=monitor)]


def config_map(layout: Layout, model_cache: Path, urls: dict[str, str]) -> Manifest:
    """What every process is told: stores, addresses, the model cache."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(CONFIG_MAP, "platform"),
        "data": {
            "NEXUS_BUCKET_URL": layout.bucket.as_uri(),
            "NEXUS_WORK_URL": layout.work.as_uri(),
            "NEXUS_MODELS_URL": layout.models.as_uri(),
            "NEXUS_TRACKING_URL": urls["tracking"],
            "NEXUS_LEDGER_URL": f"sqlite:///{layout.ledger}",
            "NEXUS_MILVUS_URI": urls["milvus"],
            "NEXUS_EMBEDDER_URL": urls["embedder"],
            "NEXUS_MODEL_CACHE": str(model_cache),
            "NEXUS_CONTROL_URL": urls["control"],
        },
    }


def control_secret(token: str) -> Manifest:
    """The credential of gateway and monitor for the Kubernetes-shaped API."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(CONTROL_SECRET, "gateway"),
        "stringData": {"token": token},
    }


def judge_secret(environment: Mapping[str, str]) -> Manifest:
    """The judge that whoever starts the platform names; steps alone are told of it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(PLATFORM_SECRET, "pipelines"),
        # Not stringData, whose fields nobody owns: what is no longer named has to go.
        "data": {
            name: b64encode(value.encode()).decode()
            for name, value in sorted(environment.items())
            if name.startswith("NEXUS_JUDGE_")
        },
    }


def _probe(path: str, **timing: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "http"}, **timing}


def _deployment(component: str, container: Manifest, volumes: list[Manifest]) -> Manifest:
    selector = {"app.kubernetes.io/component": component}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(component, component),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": labels(component)},
                "spec": {
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 10,
                    "containers": [{"name": component, **container}],
                    "volumes": volumes,
                },
            },
        },
    }


def _serving(component: str, command: str, args: list[str]) -> Manifest:
    port = PORTS[component]
    return {
        "image": f"llmops-nexus/{command}",
        "command": [command],
        "args": args,
        "ports": [{"name": "http", "containerPort": port}],
        "envFrom": [{"configMapRef": {"name": CONFIG_MAP}}],
        "env": [
            {"name": "NEXUS_HOST", "value": "0.0.0.0"},  # noqa: S104 - a pod's own address
            {"name": "NEXUS_PORT", "value": str(port)},
        ],
    }


def milvus() -> Manifest:
    """Milvus Lite behind its gRPC server: one process owns the files, all others ask it."""
    args = ["server", "--data-dir", MILVUS_FOLDER, "--host", "$(NEXUS_HOST)"]
    container = _serving("milvus", "milvus-lite", [*args, "--port", "$(NEXUS_PORT)"])
    tcp = {"tcpSocket": {"port": "http"}}
    container |= {
        "startupProbe": {**tcp, "periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": {**tcp, "periodSeconds": 5},
        "volumeMounts": [{"name": "data", "mountPath": MILVUS_FOLDER}],
    }
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "milvus"}}
    return _deployment("milvus", container, [claim])


def embedder(model_uri: str) -> Manifest:
    """The embedding server, the same for documents and for questions."""
    container = _serving("embedder", "nexus-embedder", ["--model-uri", model_uri])
    container |= {
        "startupProbe": _probe("/healthz", periodSeconds=1, failureThreshold=900),
        "readinessProbe": _probe("/readyz", periodSeconds=2),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6, timeoutSeconds=5),
    }
    return _deployment("embedder", container, [])


def gateway(extra: dict[str, str]) -> Manifest:
    """The gateway; `extra` is environment that the person who starts it chose."""
    container = _serving("gateway", "nexus-gateway", [])
    container["env"] += [
        {"name": "NEXUS_CONTROL_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/token"},
        {"name": "NEXUS_ALERT_HOOK", "value": "1"},
        *({"name": name, "value": value} for name, value in extra.items()),
    ]
    container |= {
        "startupProbe": _probe("/healthz", periodSeconds=1, failureThreshold=120),
        "readinessProbe": _probe("/readyz", periodSeconds=1, failureThreshold=2),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6, timeoutSeconds=5),
        "volumeMounts": [{"name": "control", "mountPath": TOKEN_FOLDER, "readOnly": True}],
    }
    secret = {"name": "control", "secret": {"secretName": CONTROL_SECRET}}
    return _deployment("gateway", container, [secret])


def monitor(extra: dict[str, str]) -> Manifest:
    """The monitor; `extra` is environment that the person who starts it chose."""
    container = _serving("monitor", "nexus-monitor", [])
    container["env"] += [
        {"name": "NEXUS_CONTROL_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/token"},
        *({"name": name, "value": value} for name, value in extra.items()),
    ]
    container |= {
        "startupProbe": _probe("/metrics", periodSeconds=1, failureThreshold=120),
        "readinessProbe": _probe("/metrics", periodSeconds=10, timeoutSeconds=5),
        "volumeMounts": [{"name": "control", "mountPath": TOKEN_FOLDER, "readOnly": True}],
    }
    secret = {"name": "control", "secret": {"secretName": CONTROL_SECRET}}
    return _deployment("monitor", container, [secret])


def migration() -> Manifest:
    """The pod that brings the ledger to this release."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata("ledger-migration", "migration"),
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "activeDeadlineSeconds": 300,
            "containers": [
                {
                    "name": "main",
                    "image": "llmops-nexus/nexus-pipelines",
                    "command": ["nexus-pipelines"],
                    "args": ["migrate"],
                    "envFrom": [{"configMapRef": {"name": CONFIG_MAP}}],
                }
            ],
        },
    }


def deployments(
    model_uri: str, gateway_env: dict[str, str], monitor_env: dict[str, str] | None = None
) -> list[Manifest]:
    """The processes of the platform itself; no environment for the monitor, no monitor."""
    watching = [] if monitor_env is None else [monitor(monitor_env)]
    return [milvus(), embedder(model_uri), gateway(gateway_env), *watching]
