"""The controller follows what happens, and survives what goes wrong around it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_cluster import FakeCluster
from prometheus_client import REGISTRY
from small_world import rag_index, report, serving_model

from nexus_api.meta import API_VERSION, Manifest
from nexus_operator.cluster.errors import Gone, Unavailable
from nexus_operator.cluster.protocol import Cluster, Ref, WatchEvent
from nexus_operator.objects import ref_of
from nexus_operator.reconcile.controller import Controller, retry_delay
from nexus_operator.reconcile.queue import URGENT_IN_TURN
from nexus_operator.settings import Settings

MODEL = Ref(API_VERSION, "ServingModel", "default", "assistant")
INDEX = Ref(API_VERSION, "RagIndex", "default", "handbook")


WORKERS = 2


@asynccontextmanager
async def controlled(cluster: Cluster) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(Controller(cluster, Settings(), workers=WORKERS).run(stop))
    try:
        yield task
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def until(cluster: FakeCluster, ref: Ref, holds: Callable[[Manifest], bool]) -> Manifest:
    """Wait until the object is there and the condition holds for it."""
    async with asyncio.timeout(20):
        async for event in FakeCluster.watch(
            cluster, ref.api_version, ref.kind, namespace=ref.namespace
        ):
            if event.object["metadata"]["name"] == ref.name and holds(event.object):
                return event.object
    raise AssertionError


def has(reason: str, kind: str = "Ready") -> Callable[[Manifest], bool]:
    def check(resource: Manifest) -> bool:
        conditions = (resource.get("status") or {}).get("conditions") or []
        return any(one["type"] == kind and one["reason"] == reason for one in conditions)

    return check


async def first(cluster: FakeCluster, api_version: str, kind: str) -> Manifest:
    async with asyncio.timeout(20):
        async for event in FakeCluster.watch(cluster, api_version, kind):
            return event.object
    raise AssertionError


async def make_ready(cluster: FakeCluster) -> None:
    deployment = await first(cluster, "apps/v1", "Deployment")
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
    await cluster.patch(ref_of(deployment), {"status": status}, subresource="status")


async def end_sync(cluster: FakeCluster) -> None:
    workflow = await first(cluster, "argoproj.io/v1alpha1", "Workflow")
    outputs = {"parameters": [{"name": "report", "value": report("f")}]}
    node = {"displayName": "publish", "type": "Pod", "phase": "Succeeded", "outputs": outputs}
    status = {"phase": "Succeeded", "nodes": {"n": node}}
    await cluster.patch(ref_of(workflow), {"status": status})


async def test_model_follows_its_runtime_and_its_index() -> None:
    cluster = FakeCluster()
    async with controlled(cluster):
        knowledge = {"ragIndexRef": {"name": "handbook"}}
        await cluster.create(serving_model(knowledge=knowledge))
        await make_ready(cluster)
        await until(cluster, MODEL, has("IndexNotFound"))
        await cluster.create(rag_index())
        await until(cluster, MODEL, has("IndexNotReady"))
        await end_sync(cluster)
        await until(cluster, INDEX, has("Searchable"))
        await until(cluster, MODEL, has("Serving"))


def replicas(state: str) -> float | None:
    """Return what Prometheus reads of the model."""
    labels = {"tenant": "default", "model": "assistant", "state": state}
    return REGISTRY.get_sample_value("nexus_servingmodel_replicas", labels)


async def shown(state: str, number: float | None) -> None:
    """Wait until Prometheus would read so many."""
    while replicas(state) != number:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)


async def test_metrics_tell_of_a_model_that_lacks_replicas_until_it_is_gone() -> None:
    cluster = FakeCluster()
    async with controlled(cluster), asyncio.timeout(20):
        await cluster.create(serving_model(replicas=2))
        await first(cluster, "apps/v1", "Deployment")
        await shown("wanted", 2)
        assert replicas("ready") == 0
        await make_ready(cluster)
        await shown("ready", 1)
        await cluster.patch(MODEL, {"spec": {"replicas": None, "autoscaling": {"maxReplicas": 3}}})
        await shown("wanted", 1)
        await cluster.delete(MODEL)
        await shown("ready", None)
    assert replicas("wanted") is None


async def test_an_operator_that_no_longer_leads_tells_of_no_model() -> None:
    cluster = FakeCluster()
    async with controlled(cluster), asyncio.timeout(20):
        await cluster.create(serving_model())
        await shown("wanted", 1)
    assert replicas("wanted") is None


async def test_what_was_there_before_the_start_is_taken_up() -> None:
    cluster = FakeCluster()
    await cluster.create(rag_index())
    async with controlled(cluster):
        await until(cluster, INDEX, has("Syncing"))


async def test_child_deleted_by_hand_comes_back() -> None:
    cluster = FakeCluster()
    async with controlled(cluster):
        await cluster.create(serving_model())
        deployment = await first(cluster, "apps/v1", "Deployment")
        await cluster.delete(ref_of(deployment))
        uid = deployment["metadata"]["uid"]
        await until(cluster, ref_of(deployment), lambda one: one["metadata"]["uid"] != uid)


class Troubled(FakeCluster):
    """Each watch breaks after an event, and some requests are not answered."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles = 0

    async def watch(self, *args: Any, **kwargs: Any) -> AsyncGenerator[WatchEvent, None]:
        events = super().watch(*args, **kwargs)
        async for event in events:
            yield event
            self.troubles += 1
            raise Gone("compacted") if self.troubles % 2 else Unavailable("no answer")

    async def list(self, *args: Any, **kwargs: Any) -> Any:
        self.troubles += 1
        if self.troubles % 3 == 0:
            raise Unavailable("no answer")
        return await super().list(*args, **kwargs)


async def test_broken_watches_and_failing_requests_only_delay() -> None:
    cluster = Troubled()
    async with controlled(cluster):
        await cluster.create(serving_model())
        async with asyncio.timeout(20):
            deployments = FakeCluster.watch(cluster, "apps/v1", "Deployment")
            await anext(aiter(deployments))
    assert cluster.troubles


class Tripping(FakeCluster):
    """Reading one Service trips an error in our own code."""

    async def get(self, ref: Ref) -> Manifest | None:
        if ref.kind == "Service" and ref.name == "poison":
            raise ZeroDivisionError
        return await super().get(ref)


async def test_resource_that_trips_our_code_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Tripping()
    async with controlled(cluster) as task:
        await cluster.create(serving_model("poison"))
        await cluster.create(serving_model())
        await until(cluster, MODEL, has("Starting"))
        assert not task.done()
    assert "ServingModel default/poison: an error in the operator itself" in caplog.text


class Breaking(FakeCluster):
    """Once it is cut, what waits for an answer hears of that, even when it was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def get(self, ref: Ref) -> Manifest | None:
        if ref != MODEL or self.asked.is_set():
            return await super().get(ref)
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise Unavailable("the connection is closed")


async def test_a_connection_that_breaks_at_the_stop_keeps_nobody_from_stopping() -> None:
    cluster = Breaking()
    async with controlled(cluster):
        await cluster.create(serving_model())
        await cluster.asked.wait()


async def test_no_event_is_an_endless_loop() -> None:
    cluster = FakeCluster()
    async with controlled(cluster):
        await cluster.create(serving_model())
        await make_ready(cluster)
        await until(cluster, MODEL, has("Serving"))
        await cluster.create(serving_model("other"))
        await until(cluster, MODEL._replace(name="other"), has("Starting"))
        written = cluster.writes["ServingModel"]
    assert written <= 12


def test_retries_wait_longer_and_longer_with_jitter() -> None:
    waits = [retry_delay(failures).total_seconds() for failures in range(1, 40)]
    assert all(0.25 <= wait <= 60 for wait in waits)
    assert waits[0] <= 0.5
    assert waits[-1] >= 30


async def test_in_a_burst_all_get_their_runs_before_most_get_their_status() -> None:
    cluster, count = FakeCluster(), 80
    for number in range(count):
        await cluster.create(rag_index(f"index-{number}"))
    async with controlled(cluster):
        for number in range(count):
            await until(cluster, INDEX._replace(name=f"index-{number}"), has("Syncing"))
    history = [(event.object, ref.kind) for event, ref in cluster.history]
    last_run = max(at for at, (_, kind) in enumerate(history) if kind == "Workflow")
    told = [at for at, (one, kind) in enumerate(history) if kind == "RagIndex" and "status" in one]
    assert len([at for at in told if at < last_run]) <= count / URGENT_IN_TURN + WORKERS
    assert cluster.writes["RagIndex"] == 3 * count  # the creation, the finalizer, the status
    assert cluster.writes["Workflow"] == count
