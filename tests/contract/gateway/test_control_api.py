"""Routes from the laptop's real control API: list, watch, annotate, and its restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from gateway_scripted import index_manifest, model_manifest

from nexus_gateway.control.client import ControlClient
from nexus_gateway.control.mirror import Mirror
from nexus_gateway.control.routes import Routes
from nexus_gateway.control.syncs import SyncRequests
from nexus_local.api import ControlServer
from nexus_local.node.folders import Folders
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.protocol import Ref

API = "llmops.nexus/v1alpha1"
INDEX = Ref(API, "RagIndex", "default", "handbook")
MODEL = Ref(API, "ServingModel", "default", "assistant")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(180):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_routes_follow_the_control_api_through_its_restart(tmp_path: Path) -> None:
    routes, control_file = Routes(), tmp_path / "control.json"
    folders = Folders(tmp_path / "node")

    def ready() -> bool:
        route = routes.model("default", "assistant")
        return route is not None and route.target is not None

    async with LocalCluster(tmp_path / "objects.db") as cluster:
        index = index_manifest("handbook")
        index.pop("status")
        await cluster.create(index)
        async with ControlServer(cluster, folders=folders, control_file=control_file) as server:
            client = ControlClient(server.url, token_file=control_file, ca_file=None)
            mirror, syncs = Mirror(client, routes), SyncRequests(client)
            mirror.start()
            await until(lambda: mirror.synced and ("default", "handbook") in routes.indexes)
            manifest = model_manifest("assistant", "http://127.0.0.1:9", index="handbook")
            status = manifest.pop("status")
            await cluster.create(manifest)
            await until(lambda: ("default", "assistant") in routes.models)
            assert not ready()
            await cluster.patch(MODEL, {"status": status}, subresource="status")
            await until(ready)
            syncs.ask("default", "handbook")
            await syncs.stop()
            stored = await cluster.get(INDEX)
            assert stored is not None
            assert "llmops.nexus/sync-requested-at" in stored["metadata"]["annotations"]
        await until(lambda: not mirror.connected)
        assert ready()
        await cluster.delete(MODEL)
        async with ControlServer(cluster, folders=folders, control_file=control_file):
            await until(lambda: ("default", "assistant") not in routes.models)
            await mirror.stop()
        client.close()
