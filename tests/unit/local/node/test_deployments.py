"""Deployments: replicas, rolling replacement, drift, status."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nexus_operator.cluster.protocol import Ref

from .conftest import (
    Site,
    container_state,
    deployment,
    eventually,
    get,
    local_port,
    ref,
    running_site,
    web_container,
)


def available(seen: dict[str, Any], replicas: int = 1) -> bool:
    status = seen.get("status") or {}
    return bool(
        status.get("observedGeneration") == seen["metadata"]["generation"]
        and status["readyReplicas"] == status["updatedReplicas"] == replicas
        and status["replicas"] == replicas
    )


def condition(seen: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(dict(c) for c in seen["status"]["conditions"] if c["type"] == kind)


async def test_deployment_brings_its_replicas_up_and_down(site: Site) -> None:
    made = await site.cluster.apply(deployment("web", web_container(), replicas=2))
    seen = await site.until(ref(made), lambda d: available(d, 2))
    assert condition(seen, "Available")["status"] == "True"
    assert condition(seen, "Progressing")["reason"] == "NewReplicaSetAvailable"
    pods = await site.ready_pods(app="web")
    assert len({(await get(local_port(pod)))["pid"] for pod in pods}) == 2
    await site.cluster.patch(ref(made), {"spec": {"replicas": 0}})
    await site.until(ref(made), lambda d: available(d, 0))
    for pod in pods:
        await site.until_gone(ref(pod))
    assert site.node.memory() == []


async def test_lost_pod_is_replaced(site: Site) -> None:
    made = await site.cluster.apply(deployment("web", web_container()))
    await site.until(ref(made), available)
    (first,) = await site.ready_pods(app="web")
    await site.cluster.delete(ref(first))

    async def replaced() -> bool:
        uids = {pod["metadata"]["uid"] for pod in await site.ready_pods(app="web")}
        return bool(uids) and first["metadata"]["uid"] not in uids

    await eventually(replaced)


async def test_new_template_is_ready_before_the_old_one_goes(site: Site) -> None:
    made = await site.cluster.apply(deployment("web", web_container("old")))
    await site.until(ref(made), available)
    least = 1
    watching = asyncio.Event()

    async def watch_ready() -> None:
        nonlocal least
        async for _ in site.cluster.watch("v1", "Pod"):
            watching.set()
            least = min(least, len(await site.ready_pods(app="web")))

    watcher = asyncio.create_task(watch_ready())
    await watching.wait()
    await site.cluster.apply(deployment("web", web_container("new")))
    await site.until(ref(made), available)
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    (pod,) = await site.ready_pods(app="web")
    assert (await get(local_port(pod)))["args"] == ["new"]
    assert least == 1


async def test_recreate_ends_the_old_before_it_starts_the_new(site: Site) -> None:
    strategy = {"type": "Recreate"}
    made = await site.cluster.apply(deployment("web", web_container("old"), strategy=strategy))
    await site.until(ref(made), available)
    (old,) = await site.ready_pods(app="web")
    most = 0

    async def watch_running() -> None:
        nonlocal most
        async for _ in site.cluster.watch("v1", "Pod"):
            pods = await site.cluster.list("v1", "Pod", labels={"app": "web"})
            most = max(most, sum("running" in container_state(pod) for pod in pods))

    watcher = asyncio.create_task(watch_running())
    await site.cluster.apply(deployment("web", web_container("new"), strategy=strategy))
    await site.until_gone(ref(old))
    await site.until(ref(made), available)
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    assert most == 1


async def test_replacement_that_cannot_start_leaves_the_old_one_serving(site: Site) -> None:
    made = await site.cluster.apply(deployment("web", web_container("old")))
    await site.until(ref(made), available)
    broken = web_container(image="x/missing:1")
    await site.cluster.apply(deployment("web", broken))

    def says_why(seen: dict[str, Any]) -> bool:
        return "/nowhere/missing" in condition(seen, "Available")["message"]

    seen = await site.until(ref(made), says_why)
    assert condition(seen, "Available")["status"] == "True"
    (pod,) = await site.ready_pods(app="web")
    assert (await get(local_port(pod)))["args"] == ["old"]
    await site.cluster.apply(deployment("web", web_container("third")))
    await site.until(ref(made), available)


async def test_rollout_without_progress_says_so(site: Site, tmp_path: Path) -> None:
    container = web_container(env=[{"name": "GATE", "value": str(tmp_path / "never")}])
    made = await site.cluster.apply(deployment("web", container, progressDeadlineSeconds=1))

    def stuck(seen: dict[str, Any]) -> bool:
        status = seen.get("status")
        return bool(
            status and condition(seen, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        )

    seen = await site.until(ref(made), stuck)
    assert condition(seen, "Available")["status"] == "False"
    (tmp_path / "never").touch()
    seen = await site.until(ref(made), available)
    assert condition(seen, "Progressing")["status"] == "True"


@pytest.mark.parametrize(
    "odd", [{"strategy": {"rollingUpdate": {"maxSurge": "many"}}}, {"strategy": "none"}]
)
async def test_deployment_that_makes_no_sense_stops_no_other(
    site: Site, odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await site.cluster.apply(deployment("odd", web_container(), **odd))
    made = await site.cluster.apply(deployment("web", web_container()))
    await site.until(ref(made), available)
    assert "('default', 'odd') cannot be dealt with" in caplog.text


async def test_pods_go_with_their_deployment(site: Site) -> None:
    made = await site.cluster.apply(deployment("web", web_container()))
    await site.until(ref(made), available)
    (pod,) = await site.ready_pods(app="web")
    await site.cluster.delete(ref(made))
    await site.until_gone(ref(pod))
    assert site.node.memory() == []


async def test_deployment_changed_while_the_platform_was_down(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        made = await site.cluster.apply(deployment("web", web_container("old"), replicas=2))
        await site.until(ref(made), lambda d: available(d, 2))
        site.stop.set()
        await eventually(lambda: not site.node.memory())
        await site.cluster.apply(deployment("web", web_container("new"), replicas=1))
    async with running_site(tmp_path) as site:
        await site.until(Ref("apps/v1", "Deployment", "default", "web"), available)
        (pod,) = await site.ready_pods(app="web")
        assert (await get(local_port(pod)))["args"] == ["new"]

        async def alone() -> bool:
            return len(await site.cluster.list("v1", "Pod")) == 1

        await eventually(alone)
