"""KubernetesCluster before a real etcd, API server and garbage collector; one for the whole run."""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from nexus_operator.cluster.connection import from_kubeconfig
from nexus_operator.cluster.kubernetes import KubernetesCluster

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(ROOT / "tests" / "harness")]

from needs import program  # noqa: E402 - the path is set above
from testcluster.control_plane import ControlPlane  # noqa: E402

NAMESPACES = ("default", "watched", "other", "nexus-system")
COLLECTIONS = (
    "/api/v1/namespaces/{}/configmaps",
    "/api/v1/namespaces/{}/secrets",
    "/api/v1/namespaces/{}/services",
    "/api/v1/namespaces/{}/events",
    "/apis/apps/v1/namespaces/{}/deployments",
    "/apis/llmops.nexus/v1alpha1/namespaces/{}/ragindexes",
    "/apis/llmops.nexus/v1alpha1/namespaces/{}/servingmodels",
    "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows",
)
_CRD_URL = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SECONDS = 180
_POLL = 0.05


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """A control plane with our kinds and Workflows."""
    program("etcd")
    program("kube")
    with ControlPlane(controllers="garbage-collector-controller") as running:
        prepare(running.client)
        yield running


def prepare(client: httpx.Client) -> None:
    """Install the definitions and namespaces that the suite works with."""
    for path in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
        _post(client, _CRD_URL, content=path.read_bytes())
    _post(client, _CRD_URL, json=_workflow_definition())
    for name in NAMESPACES:
        metadata = {"name": name}
        _post(
            client,
            "/api/v1/namespaces",
            json={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        )
    deadline = time.monotonic() + _SECONDS
    for collection in COLLECTIONS:
        while client.get(collection.format("default")).status_code != httpx.codes.OK:
            assert time.monotonic() < deadline, f"{collection} is not served"
            time.sleep(_POLL)


def wipe(client: httpx.Client) -> None:
    """Take away what a test made, with its finalizers."""
    for collection in COLLECTIONS:
        for namespace in NAMESPACES:
            path = collection.format(namespace)
            deadline = time.monotonic() + _SECONDS
            while left := _made_by_test(client, path):
                assert time.monotonic() < deadline, f"{path} cannot be emptied"
                for name in left:
                    client.patch(
                        f"{path}/{name}",
                        json={"metadata": {"finalizers": None}},
                        headers={"content-type": "application/merge-patch+json"},
                    )
                    client.delete(f"{path}/{name}")


def _made_by_test(client: httpx.Client, path: str) -> list[str]:
    names = [str(item["metadata"]["name"]) for item in client.get(path).json()["items"]]
    return [name for name in names if name != "kubernetes"]  # the API server's own Service


def _post(client: httpx.Client, path: str, *, json: object = None, content: bytes = b"") -> None:
    answer = (
        client.post(path, json=json)
        if json is not None
        else client.post(path, content=content, headers={"content-type": "application/yaml"})
    )
    assert answer.status_code in {201, 409}, answer.text


def _workflow_definition() -> dict[str, object]:
    """Argo's minimal definition: any field, and no status subresource."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "workflows.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "names": {"kind": "Workflow", "plural": "workflows"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


@asynccontextmanager
async def opened(running: ControlPlane) -> AsyncIterator[KubernetesCluster]:
    """Open a client to an emptied cluster."""
    wipe(running.client)
    async with KubernetesCluster(from_kubeconfig(running.kubeconfig)) as cluster:
        yield cluster
