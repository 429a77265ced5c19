"""The API over a store and a node's folders, and a plain HTTP client for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from nexus_local.api import ControlServer
from nexus_local.node.folders import Folders
from nexus_local.store.local import LocalCluster


@dataclass
class Api:
    cluster: LocalCluster
    server: ControlServer
    folders: Folders
    http: aiohttp.ClientSession


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Api]:
    folders = Folders(folder / "node")
    async with (
        LocalCluster(folder / "objects.db") as cluster,
        ControlServer(cluster, folders=folders, control_file=folder / "control.json") as server,
        aiohttp.ClientSession(
            server.url, headers={"authorization": f"Bearer {server.token}"}
        ) as http,
    ):
        yield Api(cluster, server, folders, http)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as served:
        yield served
