"""etcd and kube-apiserver as child processes on loopback, up in seconds, gone without a trace."""

import ctypes
import json
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from testcluster.binaries import binary
from testcluster.certificates import signing_key, write_secret

_READY_SECONDS = 180.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05
_ATTEMPTS = 3  # a free port may be taken before the server binds it
_PR_SET_PDEATHSIG = 1


class ControlPlaneFailed(RuntimeError):
    """A process of the control plane ended or was not ready in time; says its last words."""


@dataclass
class ControlPlane:
    """A context manager; inside it `client` speaks to the API server as system:masters.

    `controllers` names those to run beside (`garbage-collector-controller`, or `*` for all; without
    a node, pods stay unscheduled); none: no process.  `audit_policy` is a policy file, with which
    `audit_log` is written.  Flags go behind our own, which they may so override.
    """

    controllers: str = ""
    audit_policy: Path | None = None
    api_server_flags: tuple[str, ...] = ()
    controller_manager_flags: tuple[str, ...] = ()
    folder: Path = field(init=False)
    url: str = field(init=False, default="")
    token: str = field(init=False, repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    client: httpx.Client = field(init=False)
    _children: list[tuple[str, subprocess.Popen[bytes]]] = field(
        init=False, repr=False, default_factory=list
    )

    def __enter__(self) -> Self:
        etcd, kube = binary("etcd"), binary("kube")
        for attempt in range(1, _ATTEMPTS + 1):
            self.folder = Path(tempfile.mkdtemp(prefix="nexus-control-plane-"))
            try:
                self._start(etcd, kube)
            except ControlPlaneFailed:
                self._stop()
                if attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self._stop()
                raise
            else:
                return self
        raise ControlPlaneFailed("no attempt was made")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self._stop()

    def pids(self) -> list[int]:
        """Return the process ids of etcd, the API server and the controller manager."""
        return [child.pid for _, child in self._children]

    def _start(self, etcd: Path, kube: Path) -> None:
        clients, peers, secure = _free_ports(3)
        self._run(
            "etcd",
            [
                str(etcd),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{clients}",
                f"--advertise-client-urls=http://127.0.0.1:{clients}",
                f"--listen-peer-urls=http://127.0.0.1:{peers}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
        key = self.folder / "service-account.key"
        write_secret(key, signing_key()[0])
        tokens = self.folder / "tokens.csv"
        write_secret(tokens, f'{self.token},admin,admin,"system:masters"\n'.encode())
        self._run(
            "kube-apiserver",
            [
                str(kube),
                "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{clients}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={secure}",
                f"--cert-dir={self.folder / 'certificates'}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--endpoint-reconciler-type=none",
                "--enable-priority-and-fairness=false",
                *self._audit_flags(),
                *self.api_server_flags,
            ],
        )
        self.url = f"https://127.0.0.1:{secure}"
        self._await_ready()
        if self.controllers:
            self._start_controllers(kube, key)

    def _audit_flags(self) -> list[str]:
        if self.audit_policy is None:
            return []
        policy = self.audit_policy.resolve()
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]

    def _start_controllers(self, kube: Path, key: Path) -> None:
        self._run(
            "kube-controller-manager",
            [
                str(kube),
                "kube-controller-manager",
                f"--kubeconfig={self.kubeconfig}",
                f"--controllers={self.controllers}",
                f"--service-account-private-key-file={key}",
                f"--root-ca-file={self.folder / 'certificates' / 'apiserver.crt'}",
                "--leader-elect=false",
                "--secure-port=0",
                *self.controller_manager_flags,
            ],
        )

    @property
    def kubeconfig(self) -> Path:
        """Path of a kubeconfig of system:masters."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Path of what was asked of the API server, a JSON object a line."""
        return self.folder / "audit.jsonl"

    def _write_kubeconfig(self, certificate: Path) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": self.url, "certificate-authority": str(certificate)},
                }
            ],
            "users": [{"name": "admin", "user": {"token": self.token}}],
        }
        write_secret(self.kubeconfig, json.dumps(config).encode())

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of prctl, before any thread
            )
        self._children.append((name, child))

    def _await_ready(self) -> None:
        certificate = self.folder / "certificates" / "apiserver.crt"
        deadline = time.monotonic() + _READY_SECONDS
        client: httpx.Client | None = None
        while time.monotonic() < deadline:
            for name, child in self._children:
                if child.poll() is not None:
                    raise ControlPlaneFailed(f"{name} ended: {self._last_words(name)}")
            try:
                if client is None and certificate.exists():
                    client = self._connect(certificate)
                if client is not None and client.get("/readyz").status_code == httpx.codes.OK:
                    self.client = client
                    self._write_kubeconfig(certificate)
                    return
            except (httpx.TransportError, ssl.SSLError):  # not listening, or half-written
                pass
            time.sleep(_POLL_SECONDS)
        raise ControlPlaneFailed(f"not ready in time: {self._last_words('kube-apiserver')}")

    def _connect(self, certificate: Path) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            verify=ssl.create_default_context(cafile=str(certificate)),
            timeout=60,
            trust_env=False,
        )

    def _last_words(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])

    def _stop(self) -> None:
        for _, child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(timeout=_STOP_SECONDS)
        self._children.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free now; held together, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
