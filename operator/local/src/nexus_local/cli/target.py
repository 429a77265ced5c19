"""Which platform a command speaks to: `--context`, `--url`, or the data directory."""

from __future__ import annotations

import functools
import inspect
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import httpx
import typer

from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.kube import KubeClient
from nexus_local.platform.layout import Layout, default_data_dir, read_json, registry

TIMEOUT = httpx.Timeout(30, connect=5)
GATEWAY_PROXY = "/api/v1/namespaces/{namespace}/services/http:nexus-gateway:80/proxy/"

DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Data directory of the platform [env: NEXUS_DATA_DIR]."),
]
UrlOption = Annotated[
    str | None, typer.Option("--url", envvar="NEXUS_URL", help="Address of the gateway.")
]
ContextOption = Annotated[
    str | None, typer.Option("--context", help="Speak to a cluster: a context of kubeconfig.")
]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", envvar="NEXUS_NAMESPACE", help="Namespace (tenant).")
]


@dataclass
class Target:
    """One platform, found lazily: its Kubernetes API and its gateway."""

    data_dir: Path | None = None
    url: str | None = None
    context: str | None = None
    namespace: str = "default"
    _clients: list[httpx.Client] = field(default_factory=list)

    def kube(self) -> KubeClient:
        """The Kubernetes API.  Raises `CliError` when no platform can be found."""
        return KubeClient(self._kube_http())

    def gateway(self) -> httpx.Client:
        """The gateway's HTTP API.  Raises `CliError` when no platform can be found."""
        if self.context is not None and not self.url:
            http = self._kube_http()
            platform = os.environ.get("NEXUS_PLATFORM_NAMESPACE", "nexus-system")
            http.base_url = http.base_url.join(GATEWAY_PROXY.format(namespace=platform))
            if key := os.environ.get("NEXUS_API_KEY"):
                http.headers["x-api-key"] = key  # the API server keeps the other header for itself
            return http
        _check_url(self.url)
        url = self.url or read_json(self.layout().endpoint).get("url")
        if not url:
            raise self._not_running()
        headers = {}
        if key := os.environ.get("NEXUS_API_KEY"):
            headers["authorization"] = f"Bearer {key}"
        return self._keep(httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT, headers=headers))

    def layout(self) -> Layout:
        """The files of the platform on this machine."""
        _check_url(self.url)
        if self.data_dir is not None:
            return Layout(self.data_dir.expanduser())
        if self.url and (found := read_json(registry(self.url)).get("data_dir")):
            return Layout(Path(found))
        return Layout(default_data_dir())

    def close(self) -> None:
        """Close what was opened."""
        for client in self._clients:
            client.close()

    def _kube_http(self) -> httpx.Client:
        if self.context is not None:
            return self._keep(_cluster_http(self.context))
        _check_url(self.url)
        if self.url and self.data_dir is None and not registry(self.url).exists():
            host = urlsplit(self.url).netloc
            raise CliError(
                f"resources of the platform at {host} cannot be reached from here: name its data "
                "directory (--data-dir) or, for a cluster, its kubeconfig context (--context)"
            )
        control = read_json(self.layout().control)
        if not {"token", "url"} <= control.keys():
            raise self._not_running()
        headers = {"authorization": f"Bearer {control['token']}"}
        return self._keep(httpx.Client(base_url=control["url"], headers=headers, timeout=TIMEOUT))

    def _keep(self, client: httpx.Client) -> httpx.Client:
        self._clients.append(client)
        return client

    def _not_running(self) -> CliError:
        root = self.layout().root
        return CliError(f"no platform runs in {root}: start one with `nexus up --data-dir {root}`")


def _check_url(url: str | None) -> None:
    """Raise `UsageError` for an address that is none."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"--url {url!r} is no address: write http://HOST:PORT")


def _cluster_http(context: str) -> httpx.Client:
    """An HTTP client with the credentials of a kubeconfig context."""
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            context=context or None, client_configuration=settings
        )
    except config.ConfigException as error:
        raise CliError(f"kubeconfig: {error}") from error
    tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        tls.load_cert_chain(settings.cert_file, settings.key_file)
    schemes = cast("dict[str, dict[str, str]]", settings.auth_settings())
    headers = {
        one["key"]: one["value"]
        for one in schemes.values()
        if one["in"] == "header" and one["value"]
    }
    return httpx.Client(base_url=settings.host, verify=tls, headers=headers, timeout=TIMEOUT)


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that find a platform, handed over as one `Target`."""

    @functools.wraps(command)
    def run(**options: Any) -> Any:
        target = Target(
            data_dir=options.pop("data_dir"),
            url=options.pop("url"),
            context=options.pop("context"),
            namespace=options.pop("namespace"),
        )
        try:
            return command(target=target, **options)
        finally:
            target.close()

    shared = {
        "namespace": (NamespaceOption, "default"),
        "data_dir": (DataDirOption, None),
        "url": (UrlOption, None),
        "context": (ContextOption, None),
    }
    signature = inspect.signature(command, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "target"]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in shared.items()
    ]
    positional = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    run.__signature__ = inspect.Signature([*positional, *extra])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*positional, *extra]}
    return run
