"""A real API server that charts are rendered and installed into."""

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx
from foreign import foreign_definitions
from rendering import NAMESPACE, Helm, Manifest
from testcluster.control_plane import ControlPlane
from testcluster.definitions import Project, definitions

_SERVED_SECONDS = 180
_POLL_SECONDS = 0.05
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_USED = frozenset(
    {"workflowtemplates", "clusterworkflowtemplates", "workflows"}
    | {"eventbus", "eventsources", "sensors"}
)
_PROJECTS: tuple[Project, ...] = ("argo-workflows", "argo-events")
_DRY = {"dryRun": "All", "fieldValidation": "Strict"}


@dataclass(frozen=True)
class Cluster:
    """The API server, and a helm that speaks to it."""

    control_plane: ControlPlane
    helm: Helm
    paths: dict[tuple[str, str], str]
    """URL of the collection of each kind, with {namespace} where it has one."""

    def url(self, one: Manifest) -> str:
        path = self.paths[one["apiVersion"], one["kind"]]
        return path.format(namespace=one["metadata"].get("namespace", NAMESPACE))

    def one(self, one: Manifest) -> str:
        return f"{self.url(one)}/{one['metadata']['name']}"

    def namespace(self, name: str) -> None:
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        _make(self.control_plane.client, "/api/v1/namespaces", made)

    def judge(self, one: Manifest) -> str:
        """Return why the API server would refuse an object; empty when it takes it."""
        answer = self.control_plane.client.post(self.url(one), params=_DRY, json=one)
        return "" if answer.is_success else str(answer.json()["message"])

    def serve(self, ours: list[Manifest]) -> None:
        """Install definitions of ours, and learn where their kinds are."""
        client = self.control_plane.client
        for one in ours:
            _make(client, _DEFINITIONS, one)
        plurals = frozenset(one["spec"]["names"]["plural"] for one in ours)
        _await_served(client, plurals, "llmops.nexus/v1alpha1")
        self.paths.update(_paths(client))

    def get(self, api_version: str, kind: str, name: str) -> Manifest:
        which = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
        answer = self.control_plane.client.get(self.one(which))
        assert answer.is_success, answer.text
        found: Manifest = answer.json()
        return found


def prepared(control_plane: ControlPlane, helm: Helm) -> Cluster:
    """Install Argo's definitions and make the platform's namespace."""
    client = control_plane.client
    for project in _PROJECTS:
        for one in json.loads(definitions(project).read_bytes())["items"]:
            if one["spec"]["names"]["plural"] in _USED:
                _make(client, _DEFINITIONS, one)
    _await_served(client, _USED, "argoproj.io/v1alpha1")
    foreign = foreign_definitions()
    for one in foreign:
        _make(client, _DEFINITIONS, one)
    for group in ("monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"):
        named = [one["spec"] for one in foreign if one["spec"]["group"] == group.split("/")[0]]
        _await_served(client, frozenset(one["names"]["plural"] for one in named), group)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    _make(client, "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels},
    })  # fmt: skip
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    _make(client, f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
    return Cluster(control_plane, helm, _paths(client))


def _make(client: httpx.Client, collection: str, manifest: Manifest) -> None:
    answer = client.patch(
        f"{collection}/{manifest['metadata']['name']}",
        params={"fieldManager": "test", "force": "true"},
        json=manifest,
        headers={"content-type": "application/apply-patch+yaml"},
    )
    assert answer.is_success, answer.text


def _await_served(client: httpx.Client, plurals: frozenset[str], group: str) -> None:
    """Wait until discovery names all kinds; asking for the definitions would move megabytes."""
    deadline = time.monotonic() + _SERVED_SECONDS
    missing = set(plurals)
    while missing:
        assert time.monotonic() < deadline, f"not served: {sorted(missing)}"
        time.sleep(_POLL_SECONDS)
        answer = client.get(f"/apis/{group}")
        listed = answer.json().get("resources") or () if answer.is_success else ()
        missing = set(plurals) - {one["name"] for one in listed}


def _paths(client: httpx.Client) -> dict[tuple[str, str], str]:
    """Ask the API server where each kind is."""
    groups = client.get("/apis").json()["groups"]
    versions = ["v1", *(v["groupVersion"] for group in groups for v in group["versions"])]
    found = {}
    for version in versions:
        base = "/api/v1" if version == "v1" else f"/apis/{version}"
        listed: dict[str, Any] = client.get(base).json()
        for resource in listed.get("resources") or ():
            if "/" not in resource["name"]:
                scope = "/namespaces/{namespace}" if resource["namespaced"] else ""
                found[version, resource["kind"]] = f"{base}{scope}/{resource['name']}"
    return found


def kubeconfig_of(control_plane: ControlPlane, token: str) -> Manifest:
    """Return a kubeconfig of whoever has a token."""
    authority = control_plane.folder / "certificates" / "apiserver.crt"
    server = {"server": control_plane.url, "certificate-authority": str(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
