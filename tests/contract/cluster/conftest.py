"""Every implementation of the Cluster protocol that can run here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.protocol import Cluster

Opening = Callable[[Path], AbstractAsyncContextManager[Cluster]]


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Cluster]:
    async with LocalCluster(folder / "objects.db") as cluster:
        yield cluster


IMPLEMENTATIONS: dict[str, Opening] = {"local": local}


@pytest.fixture(params=IMPLEMENTATIONS)
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Wait until a condition holds; on a real cluster garbage collection takes its time."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(30):
            # There is no event to wait for: another process may do it.
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    return wait
