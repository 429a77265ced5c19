"""The cluster's API without kubectl, for what is asked many times while a part starts."""

import ssl
from typing import Any

import httpx

from testcluster import network
from testcluster.config import ClusterConfig

_SECONDS = 30.0


def is_ready(config: ClusterConfig) -> bool:
    """Return whether the API server says that it is ready."""
    return _ask(config, "/readyz") is not None


def read(config: ClusterConfig, path: str) -> dict[str, Any] | None:
    """Return the object at a path of the API, or None when it is not there or nobody answers."""
    answer = _ask(config, path)
    if answer is None:
        return None
    found: dict[str, Any] = answer.json()
    return found


def client(config: ClusterConfig) -> httpx.Client:
    """Return an administrator's client, of use inside the cluster's network alone."""
    trusted = ssl.create_default_context(cafile=str(config.pki / "ca.crt"))
    trusted.load_cert_chain(config.pki / "admin.crt", config.pki / "admin.key")
    return httpx.Client(base_url=config.api_url, verify=trusted, timeout=_SECONDS, trust_env=False)


def _ask(config: ClusterConfig, path: str) -> httpx.Response | None:
    with network.joined(config), client(config) as asking:
        try:
            answer = asking.get(path)
        except httpx.TransportError:
            return None
    return answer if answer.status_code == httpx.codes.OK else None
