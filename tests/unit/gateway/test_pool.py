"""How long connections to a runtime are kept."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from gateway_scripted import Request, ScriptedServer, send_json

from nexus_gateway.upstream import Pool, UpstreamUnreachable
from nexus_gateway.upstream.connection import KEEPALIVE
from nexus_gateway.upstream.pool import Target


async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, {})


async def ask(pool: Pool, url: str) -> None:
    response = await pool.request("GET", Target.of(url), "/", headers={}, within=10)
    await response.read(limit=100, idle_timeout=10)
    response.close()


async def test_connection_is_used_again_but_not_for_ever() -> None:
    """A replica that came later gets its share: a Service chooses for each connection."""
    for longest_use, connections in ((60.0, 1), (0.0, 5)):
        async with ScriptedServer(replies={"/": answer}).running() as server:
            pool = Pool(longest_use=longest_use)
            for _ in range(5):
                await ask(pool, server.url)
            pool.close()
        assert server.connections == connections


async def test_machine_that_is_gone_is_noticed_within_half_a_minute() -> None:
    async with ScriptedServer(replies={"/": answer}).running() as server:
        pool = Pool()
        await ask(pool, server.url)
        ((kept,),) = pool._idle.values()
        assert kept._transport is not None
        connected = kept._transport.get_extra_info("socket")
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in KEEPALIVE.items():
            assert connected.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
        pool.close()
    assert KEEPALIVE["TCP_KEEPIDLE"] + KEEPALIVE["TCP_KEEPINTVL"] * KEEPALIVE["TCP_KEEPCNT"] <= 30


async def test_service_whose_rules_come_late_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Service refuses for a moment although its first pod is ready."""
    async with ScriptedServer(replies={"/": answer}).running() as server:
        pool = Pool()
        connect = asyncio.get_running_loop().create_connection
        attempts = 0

        async def late(*arguments: Any, **named: Any) -> Any:
            nonlocal attempts
            attempts += 1
            if attempts < 4:
                raise ConnectionRefusedError
            return await connect(*arguments, **named)

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", late)
        await ask(pool, server.url)
        pool.close()
    assert attempts == 4


async def test_patience_with_a_refused_connection_ends() -> None:
    pool = Pool()
    with pytest.raises(UpstreamUnreachable, match=r"127\.0\.0\.1:1: "):
        await ask(pool, "http://127.0.0.1:1")
    pool.close()
