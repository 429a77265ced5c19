"""Questions to pods: answered soon and shortly by the very pod, or not at all."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from nexus_operator.cluster import pod_transport
from nexus_operator.cluster.errors import Unavailable
from nexus_operator.cluster.pod_transport import ANSWER_BYTES, PodTransport

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def pod(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/adapters", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/adapters"
    finally:
        await runner.cleanup()


async def asked(url: str) -> bytes:
    transport = PodTransport()
    try:
        return await transport.ask(url)
    finally:
        await transport.close()


async def test_an_answer_is_read_and_nothing_of_ours_is_sent() -> None:
    headers: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        headers.extend(name.lower() for name in request.headers)
        return web.Response(text="{}")

    async with pod(answer) as url:
        assert await asked(url) == b"{}"
    assert "authorization" not in headers
    assert "cookie" not in headers


async def _elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:1/")


async def _ill(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPServiceUnavailable


async def _long(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=bytes(ANSWER_BYTES + 1))


async def _late(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response(text="{}")


@pytest.mark.parametrize("answer", [_elsewhere, _ill, _long, _late])
async def test_all_else_is_no_answer(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_transport, "ANSWER_SECONDS", 0.2)
    async with pod(answer) as url:
        with pytest.raises(Unavailable):
            await asked(url)


async def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(Unavailable):
        await asked("http://127.0.0.1:1/adapters")


async def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    """It could be of any length then."""

    async def answer(request: web.Request) -> web.StreamResponse:
        packed = gzip.compress(bytes(1 << 24))
        return web.Response(body=packed, headers={"content-encoding": "gzip"})

    async with pod(answer) as url:
        assert len(await asked(url)) < ANSWER_BYTES
