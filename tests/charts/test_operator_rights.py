"""The operator does its work with the rights that the chart grants it: nothing is forbidden."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from api_server import Cluster, kubeconfig_of
from ports import free_port
from rendering import NAMESPACE, PLATFORM, ROOT, Manifest, named

from nexus_api.manifests import load_manifests

pytestmark = pytest.mark.apiserver

ROLES = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
SAMPLES = ("handbook.yaml", "assistant.yaml")
_SECONDS = 180.0
_FORBIDDEN = re.compile(r'^nexus_api_requests_total\{.*status="40[13]".*\} [1-9]', re.MULTILINE)


@dataclass
class Operator:
    cluster: Cluster
    port: int
    log: Path

    def eventually(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + _SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, f"{what}:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.1)
        return found

    def items(self, path: str) -> list[Manifest]:
        answer = self.cluster.control_plane.client.get(path)  # a new kind is not listed at once
        items: list[Manifest] = answer.json()["items"] if answer.is_success else []
        return items

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.port}/metrics"
        return httpx.get(url, trust_env=False, timeout=_SECONDS).text


@contextmanager
def operating(cluster: Cluster, folder: Path, values: dict[str, Any]) -> Iterator[Operator]:
    """Run the operator as its ServiceAccount, with the roles and settings of the chart."""
    client = cluster.control_plane.client
    objects = cluster.helm.template(PLATFORM, values)
    made = [one for one in objects if one["kind"] in ROLES]
    for one in made:
        answer = client.post(cluster.url(one), json=one)
        assert answer.status_code in {201, 409}, answer.text
    cluster.serve([one for one in objects if one["kind"] == "CustomResourceDefinition"])
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/nexus-operator"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = client.post(f"{account}/token", json=asked).json()["status"]["token"]
    access = folder / "kubeconfig"
    access.write_text(yaml.safe_dump(kubeconfig_of(cluster.control_plane, token)))
    settings = folder / "settings.yaml"
    config = named(objects, "ConfigMap", "nexus-operator")
    settings.write_text(config["data"]["settings.yaml"])
    port = free_port()
    command = ["nexus-operator", "--dev", str(access), "--settings", str(settings), "--port"]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [*command, str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"},
        )
    try:
        yield Operator(cluster, port, folder / "log")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=60)
        for one in made:
            client.delete(cluster.one(one))


@pytest.mark.parametrize(
    ("tenant", "namespaces", "scraped"),
    # nobody here collects what team-a leaves
    [("team-a", [], True), ("team-b", ["team-b"], False)],
    ids=["everywhere", "one namespace"],
)
def test_nothing_that_the_operator_does_is_forbidden(
    cluster: Cluster, tmp_path: Path, tenant: str, namespaces: list[str], scraped: bool
) -> None:
    client = cluster.control_plane.client
    cluster.namespace(tenant)
    ours = f"/apis/llmops.nexus/v1alpha1/namespaces/{tenant}"
    argo = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}"
    monitors = f"/apis/monitoring.coreos.com/v1/namespaces/{tenant}/podmonitors"
    values = {
        "operator": {"watchNamespaces": namespaces},
        "metrics": {"serviceMonitor": {"enabled": scraped, "labels": {"release": "monitoring"}}},
    }
    with operating(cluster, tmp_path, values) as operator:
        samples = [
            one
            for name in SAMPLES
            for one in load_manifests((ROOT / "manifests" / "samples" / name).read_text())
        ]
        for one in samples:
            one["metadata"]["namespace"] = tenant
            one["spec"].pop("knowledge", None)  # else the model waits for the index
            answer = client.post(cluster.url(one), json=one)
            assert answer.status_code == 201, answer.text
        operator.eventually("a sync", lambda: operator.items(f"{argo}/workflows"))
        operator.eventually("the listener", lambda: operator.items(f"{argo}/sensors"))
        operator.eventually("the source", lambda: operator.items(f"{argo}/eventsources"))

        deployments = f"/apis/apps/v1/namespaces/{tenant}/deployments"
        operator.eventually("a runtime", lambda: operator.items(deployments))
        if scraped:
            (made,) = operator.eventually("a monitor", lambda: operator.items(monitors))
            assert made["metadata"]["labels"]["release"] == "monitoring"
        events = f"/api/v1/namespaces/{tenant}/events"
        operator.eventually("an event", lambda: operator.items(events))

        for kind, name in (("servingmodels", "assistant"), ("ragindexes", "handbook")):
            assert client.delete(f"{ours}/{kind}/{name}").is_success
        operator.eventually(
            "a teardown",
            lambda: [
                one
                for one in operator.items(f"{argo}/workflows")
                if "teardown" in one["metadata"]["name"]
            ],
        )
        said = operator.metrics()
        assert "nexus_api_requests_total{" in said
        assert _FORBIDDEN.search(said) is None, _FORBIDDEN.findall(said)
        assert "orbidden" not in operator.log.read_text()
    _clean(cluster, ours, argo, deployments, monitors)


def _clean(cluster: Cluster, ours: str, argo: str, *mine: str) -> None:
    """Remove what is left, which nobody else does without an operator and controllers."""
    client = cluster.control_plane.client
    merge = {"content-type": "application/merge-patch+json"}
    for collection in (f"{ours}/ragindexes", f"{ours}/servingmodels", f"{argo}/workflows"):
        for one in client.get(collection).json()["items"]:
            url = f"{collection}/{one['metadata']['name']}"
            client.patch(url, json={"metadata": {"finalizers": None}}, headers=merge)
    for kind in ("workflows", "sensors", "eventsources"):
        client.delete(f"{argo}/{kind}")
    for collection in mine:
        client.delete(collection)
