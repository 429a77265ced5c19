"""What hangs when the operator was uninstalled first is let go by the commands of the page."""

import os
import subprocess

import pytest
from how_to import SHELL, commands
from needs import program
from testcluster.control_plane import ControlPlane
from testcluster.tools import tools_folder
from waiting import eventually

from nexus_api.meta import API_VERSION, FINALIZER, Manifest

pytestmark = pytest.mark.apiserver


def index(name: str, *finalizers: str) -> Manifest:
    metadata = {"name": name, "finalizers": list(finalizers)}
    return {"apiVersion": API_VERSION, "kind": "RagIndex", "metadata": metadata, "spec": {}}


@pytest.fixture
def namespace(api: ControlPlane) -> str:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "left-"}}
    made: Manifest = api.client.post("/api/v1/namespaces", json=space).json()
    return str(made["metadata"]["name"])


def test_only_what_is_being_deleted_is_let_go_and_only_by_us(
    api: ControlPlane, namespace: str
) -> None:
    program("helm")  # lies in one folder with kubectl
    indexes = f"/apis/{API_VERSION}/namespaces/{namespace}/ragindexes"
    for one in (
        index("stays", FINALIZER),
        index("left", FINALIZER),
        index("shared", "example.com/theirs", FINALIZER),
    ):
        assert api.client.post(indexes, json=one).status_code == 201
    for name in ("left", "shared"):
        api.client.delete(f"{indexes}/{name}")
    assert api.client.get(f"{indexes}/left").status_code == 200, "nothing hangs"

    search = f"{tools_folder()}:{os.environ['PATH']}"
    let_go = commands("install-on-kubernetes.md", "The operator went first")
    done = subprocess.run(
        [*SHELL, let_go],
        env={**os.environ, "PATH": search, "KUBECONFIG": str(api.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    eventually(lambda: api.client.get(f"{indexes}/left").status_code == 404, what="its end")
    left = {
        one["metadata"]["name"]: one["metadata"]["finalizers"]
        for one in api.client.get(indexes).json()["items"]
    }
    assert left == {"stays": [FINALIZER], "shared": ["example.com/theirs"]}
    for name in left:
        api.client.patch(
            f"{indexes}/{name}",
            json={"metadata": {"finalizers": None}},
            headers={"content-type": "application/merge-patch+json"},
        )
