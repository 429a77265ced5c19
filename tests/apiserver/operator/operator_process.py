"""The operator as a child process, and the cluster as a user sees it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import yaml
from testcluster.control_plane import ControlPlane

Manifest = dict[str, Any]
T = TypeVar("T")

SECONDS = 180.0
_POLL = 0.05
_MERGE = {"content-type": "application/merge-patch+json"}
_ROOTS = {
    "ragindexes": "/apis/llmops.nexus/v1alpha1",
    "servingmodels": "/apis/llmops.nexus/v1alpha1",
    "finetunejobs": "/apis/llmops.nexus/v1alpha1",
    "workflows": "/apis/argoproj.io/v1alpha1",
    "deployments": "/apis/apps/v1",
    "services": "/api/v1",
    "events": "/api/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "podmonitors": "/apis/monitoring.coreos.com/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}


def until(found: Callable[[], T | None], what: str, seconds: float = SECONDS) -> T:
    """Return the first answer that is not None, False or empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(_POLL)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}")


@dataclass
class World:
    """One API server, one namespace of resources, one of the platform."""

    api: ControlPlane
    namespace: str
    platform: str

    def make_namespaces(self) -> None:
        for name in (self.namespace, self.platform):
            self.make_namespace(name)

    def make_namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._ok(self.api.client.post("/api/v1/namespaces", json=body))

    def url(self, plural: str, name: str = "", namespace: str = "") -> str:
        place = namespace or (
            self.platform if plural in {"workflows", "leases"} else self.namespace
        )
        tail = f"/{name}" if name else ""
        return f"{_ROOTS[plural]}/namespaces/{place}/{plural}{tail}"

    def create(self, kind: str, name: str, spec: Manifest, namespace: str = "") -> Manifest:
        plural = f"{kind.lower()}es" if kind == "RagIndex" else f"{kind.lower()}s"
        body = {
            "apiVersion": "llmops.nexus/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        return self._ok(self.api.client.post(self.url(plural, namespace=namespace), json=body))

    def get(self, plural: str, name: str, namespace: str = "") -> Manifest | None:
        answer = self.api.client.get(self.url(plural, name, namespace))
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._ok(answer)

    def all(self, plural: str, namespace: str = "") -> list[Manifest]:
        answer = self.api.client.get(self.url(plural, namespace=namespace))
        if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.TOO_MANY_REQUESTS}:
            return []  # a kind that is not installed, or only just
        return list(self._ok(answer)["items"])

    def patch(self, plural: str, name: str, patch: Manifest) -> Manifest:
        url = self.url(plural, name)
        return self._ok(self.api.client.patch(url, json=patch, headers=_MERGE))

    def delete(self, plural: str, name: str) -> None:
        self._ok(self.api.client.delete(self.url(plural, name)))

    def condition(self, plural: str, name: str, kind: str = "Ready") -> Manifest:
        found = self.get(plural, name) or {}
        conditions = (found.get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    def versions(self) -> dict[str, str]:
        """Resource versions of everything that the operator could write here."""
        return {
            f"{plural}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for plural in _ROOTS
            if plural != "leases"
            for one in self.all(plural)
        }

    def settled(self, seconds: float = 3.0) -> dict[str, str]:
        """Return the versions once nothing has been written here for a while."""
        seen, since = self.versions(), time.monotonic()

        def unchanged() -> bool:
            nonlocal seen, since
            if (now := self.versions()) != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > seconds

        until(unchanged, "no more writes")
        return seen

    @staticmethod
    def _ok(answer: httpx.Response) -> Manifest:
        assert answer.is_success, answer.text
        return dict(answer.json())


class OperatorProcess:
    """`nexus-operator` with the settings of a world, and `more`, its log in a file."""

    def __init__(
        self, world: World, folder: Path, *, everywhere: bool = False, **more: Any
    ) -> None:
        settings = {
            "platformNamespace": world.platform,
            "watchNamespaces": [] if everywhere else [world.namespace],
            "modelCache": {"mode": "ephemeral"},
            **more,
        }
        stem = folder / f"operator-{time.monotonic_ns()}"
        self._log = stem.with_suffix(".log")
        file = stem.with_suffix(".yaml")
        file.write_text(yaml.safe_dump(settings))
        command = Path(sys.executable).parent / "nexus-operator"
        self._command = [str(command), "--dev", str(world.api.kubeconfig), "--port", "0"]
        self._command += ["--settings", str(file), "--log-format", "json"]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.child = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.child.kill()
        self.child.wait(SECONDS)

    def terminate(self) -> int:
        """End it as kubelet does; returns its exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(SECONDS)

    def said(self, words: str) -> bool:
        """Whether a line of the log holds the words."""
        return any(words in entry["message"] for entry in self.log())

    def log(self) -> list[Manifest]:
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def ask(self, path: str) -> httpx.Response:
        """Ask the health server."""
        (port,) = (
            entry["message"].rpartition(" ")[2]
            for entry in self.log()
            if entry["message"].startswith("health and metrics on port")
        )
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=60)

    def wait_ready(self) -> None:
        """Wait until it holds the Lease and has listed what is there."""
        until(lambda: self._alive() and self.said("holding the Lease"), "the Lease held")
        until(lambda: self._alive() and self.ask("/readyz").is_success, "ready")

    def _alive(self) -> bool:
        assert self.child.poll() is None, self._log.read_text()[-3000:]
        return True
