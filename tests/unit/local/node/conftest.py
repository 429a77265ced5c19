"""A node with real child processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nexus_local.node import Backoff, Node
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.protocol import Ref

Manifest = dict[str, Any]
PROGRAMS = str(Path(__file__).with_name("programs.py"))
ENTRYPOINTS = {
    "web": (sys.executable, PROGRAMS, "web"),
    "step": (sys.executable, PROGRAMS, "step"),
    "missing": ("/nowhere/missing",),
    "python": (sys.executable, "-m", "timeit"),
}


@dataclass
class Site:
    """A node that runs, with its store."""

    cluster: LocalCluster
    node: Node
    folder: Path
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(
        self, ref: Ref, holds: Callable[[Manifest], bool], *, seconds: float = 60
    ) -> Manifest:
        """Wait until the object is such that `holds`; return it."""
        async with asyncio.timeout(seconds):
            async for event in self.cluster.watch(ref.api_version, ref.kind):
                if event.type in {"ADDED", "MODIFIED"}:
                    metadata = event.object["metadata"]
                    there = (metadata["namespace"], metadata["name"]) == (ref.namespace, ref.name)
                    if there and holds(event.object):
                        return event.object
        raise AssertionError("the store was closed")

    async def until_gone(self, ref: Ref) -> None:
        async with asyncio.timeout(60):
            async for event in self.cluster.watch(ref.api_version, ref.kind):
                if await self.cluster.get(ref) is None:
                    return
                assert event

    async def ready_pods(self, **labels: str) -> list[Manifest]:
        pods = await self.cluster.list("v1", "Pod", labels=labels)
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in staying if is_ready(pod)]


def is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def container_state(pod: Manifest) -> Manifest:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return dict(statuses[0].get("state") or {})


@asynccontextmanager
async def running_site(folder: Path, **options: Any) -> AsyncIterator[Site]:
    options = {"backoff": Backoff(first=0.05, cap=0.2), "entrypoints": ENTRYPOINTS, **options}
    async with LocalCluster(folder / "objects.db") as cluster:
        node = Node(cluster, data_dir=folder / "node", **options)
        site = Site(cluster, node, folder)
        running = asyncio.create_task(node.run(site.stop))
        try:
            yield site
        finally:
            site.stop.set()
            await running


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as running:
        yield running


def web_container(*args: str, **fields: Any) -> Manifest:
    return {
        "name": "main",
        "image": "registry.example/nexus/web:0.1",
        "args": list(args),
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
        **fields,
    }


def pod(name: str, container: Manifest, **spec: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 5, **spec},
    }


def deployment(name: str, container: Manifest, **spec: Any) -> Manifest:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
            },
            **spec,
        },
    }


def service(name: str, **annotations: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def ref(manifest: Manifest) -> Ref:
    metadata = manifest["metadata"]
    return Ref(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])


async def get(port: int, path: str = "/about") -> Manifest:
    """One HTTP request; the answer of the web program about itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        text = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    if not text:
        raise ConnectionResetError("closed without an answer")
    head, _, body = text.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    return dict(json.loads(body)) if body else {}


async def answers(port: int) -> bool:
    try:
        await get(port)
    except OSError:
        return False
    return True


def local_port(running: Manifest) -> int:
    ports = json.loads(running["metadata"]["annotations"]["llmops.nexus/local-ports"])
    return int(ports["http"])


def service_port(seen: Manifest) -> int:
    return int(seen["status"]["loadBalancer"]["ingress"][0]["ports"][0]["port"])


def has_port(seen: Manifest) -> bool:
    return bool((seen.get("status") or {}).get("loadBalancer", {}).get("ingress"))


async def eventually(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait for something outside the store, such as the end of a process."""
    async with asyncio.timeout(30):
        while True:
            holds = condition()
            if holds is True or (not isinstance(holds, bool) and await holds):
                return
            await asyncio.sleep(0.02)
