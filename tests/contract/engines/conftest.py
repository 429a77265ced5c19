"""One gateway before each real engine."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "unit" / "gateway")]

from engine_servers import Server  # noqa: E402 - the path is set above
from engine_world import ALSO, Engine, make, route  # noqa: E402
from gateway_world import gateway_world  # noqa: E402


# For the session: vLLM takes more than a minute to start.  The test that kills it comes last.
@pytest.fixture(scope="session", params=["llamacpp", "triton", "vllm"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    made = make(request.param, tmp_path_factory.mktemp(request.param))
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
async def engine(tmp_path: Path, server: Server) -> AsyncIterator[Engine]:
    async with gateway_world(tmp_path) as world:
        world.http.timeout = 120  # a large model on a small machine
        await route(world, server, "assistant", "ghost", *ALSO.get(server.engine, ()))
        yield Engine(server.engine, server, world)
