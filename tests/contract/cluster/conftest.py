"""Every implementation of the Cluster protocol that can run here."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexus_local.api import ControlServer
from nexus_local.node.folders import Folders
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.protocol import Cluster

from . import real_cluster
from .http_cluster import HttpCluster

Opening = Callable[[Path], AbstractAsyncContextManager[Cluster]]


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Cluster]:
    async with LocalCluster(folder / "objects.db") as cluster:
        yield cluster


@asynccontextmanager
async def over_http(folder: Path) -> AsyncIterator[Cluster]:
    async with (
        LocalCluster(folder / "objects.db") as cluster,
        ControlServer(
            cluster, folders=Folders(folder / "node"), control_file=folder / "control.json"
        ) as server,
        aiohttp.ClientSession(
            server.url, headers={"authorization": f"Bearer {server.token}"}
        ) as session,
    ):
        yield HttpCluster(session)


@asynccontextmanager
async def fake(folder: Path) -> AsyncIterator[Cluster]:
    """The cluster in memory by which the operator's unit tests run."""
    file = Path(__file__).parents[2] / "unit" / "operator" / "fake_cluster.py"
    spec = importlib.util.spec_from_file_location("fake_cluster", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.FakeCluster()


_shared = ExitStack()
"""What is started by the first test that needs it and stopped after the last one."""


@cache
def control_plane() -> Any:
    return _shared.enter_context(real_cluster.control_plane())


@pytest.fixture(scope="session", autouse=True)
def _stop_shared() -> Iterator[None]:
    with _shared:
        yield


def kubernetes(_folder: Path) -> AbstractAsyncContextManager[Cluster]:
    return real_cluster.opened(control_plane())


IMPLEMENTATIONS: dict[str, Opening] = {
    "local": local,
    "http": over_http,
    "fake": fake,
    "kubernetes": kubernetes,
}


@pytest.fixture(params=IMPLEMENTATIONS)
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Wait until a condition holds; on a real cluster garbage collection takes its time."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(180):
            # There is no event to wait for: another process may do it.
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    return wait
