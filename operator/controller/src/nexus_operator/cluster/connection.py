"""Where the API server is and who we are to it: a service account's files, or a kubeconfig."""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConnectionInvalid(Exception):
    """The description of the API server cannot be used; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One API server and one identity; the token is read anew when its file changes.

    Attributes:
        server: its URL, without a path.
        ca: certificates that sign the server's, in PEM; empty for those of the machine.
        token: a bearer token that never changes; `token_file` is used when it is empty.
        token_file: a file that holds the token; kubelets renew it about every hour.
        certificate, key: a client certificate and its key, in PEM.
        verify: whether the server's certificate is checked at all.
    """

    server: str
    ca: str = ""
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    certificate: str = ""
    key: str = field(default="", repr=False)
    verify: bool = True

    def authorization(self) -> Mapping[str, str]:
        """Return the header that says who we are, as of now.

        Raises ConnectionInvalid when the token's file cannot be read.
        """
        token = self.bearer()
        return {"authorization": f"Bearer {token}"} if token else {}

    def bearer(self) -> str:
        """Return the token of now, empty when there is none."""
        if self.token or self.token_file is None:
            return self.token
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConnectionInvalid(f"the token cannot be read: {error}") from error

    def tls(self) -> ssl.SSLContext | None:
        """Return how to speak TLS, or None for a server that is spoken to without."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            _load_client_certificate(context, self.certificate, self.key)
        return context


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Hand a client certificate to OpenSSL, which reads it from a file only."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name)


def connect(*, kubeconfig: Path | None = None, context: str = "") -> Connection:
    """Return the connection of this process.

    It is that of a named kubeconfig, else that of its pod, else `$KUBECONFIG` or `~/.kube/config`.
    Raises ConnectionInvalid, which says what was looked for.
    """
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig, context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").exists():
        return in_cluster()
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(named) if named else Path.home() / ".kube" / "config"
    if not path.exists():
        raise ConnectionInvalid(
            f"there is no API server to talk to: this is no pod (no {SERVICE_ACCOUNT}/token), and "
            f"{path} is not there; set KUBECONFIG"
        )
    return from_kubeconfig(path, context)


def in_cluster(folder: Path = SERVICE_ACCOUNT) -> Connection:
    """Return the connection that a pod has through its service account."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    bracketed = f"[{host}]" if ":" in host else host
    return Connection(
        server=f"https://{bracketed}:{port}",
        ca=(folder / "ca.crt").read_text(encoding="ascii"),
        token_file=folder / "token",
    )


def from_kubeconfig(path: Path, context: str = "") -> Connection:
    """Return the connection of one context of a kubeconfig, of the current one by default.

    Understands tokens, token files and client certificates; login plugins (`exec`,
    `auth-provider`) are refused with a way round.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConnectionInvalid(f"the kubeconfig {path} cannot be read: {error}") from error
    chosen = context or str(config.get("current-context") or "")
    picked = _named(config, "contexts", "context", chosen, path)
    cluster = _named(config, "clusters", "cluster", str(picked.get("cluster", "")), path)
    user = _named(config, "users", "user", str(picked.get("user", "")), path)
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise ConnectionInvalid(
                f"the user of context {chosen!r} in {path} logs in by {plugin}, which is not "
                "offered: write a kubeconfig with a token (`kubectl create token NAME`)"
            )
    token_file = user.get("tokenFile")
    return Connection(
        server=str(cluster.get("server", "")).rstrip("/"),
        ca=_pem(cluster, "certificate-authority", path),
        token=str(user.get("token") or ""),
        token_file=path.parent / str(token_file) if token_file else None,
        certificate=_pem(user, "client-certificate", path),
        key=_pem(user, "client-key", path),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def _named(
    config: Mapping[str, Any], section: str, field_name: str, name: str, path: Path
) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(field_name) or {})
    raise ConnectionInvalid(f"the kubeconfig {path} has no {field_name} named {name!r}")


def _pem(part: Mapping[str, Any], name: str, path: Path) -> str:
    """Return a certificate or key that stands in the kubeconfig, or in a file that it names."""
    inline = part.get(f"{name}-data")
    if inline:
        return base64.b64decode(str(inline)).decode("ascii")
    named = part.get(name)
    if not named:
        return ""
    try:
        return (path.parent / str(named)).read_text(encoding="ascii")
    except OSError as error:
        raise ConnectionInvalid(f"{path} names a {name} that cannot be read: {error}") from error
