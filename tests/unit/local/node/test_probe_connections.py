"""Probes on loopback: what they find where nobody listens, and where they meet themselves."""

import asyncio

import pytest
from ports import free_port
from self_connection import can_be_taken, meeting_themselves

from nexus_local.node.probes import Check, http_get, tcp

from .conftest import eventually


def checks(port: int) -> dict[str, Check]:
    return {"tcp": lambda: tcp(port), "http": lambda: http_get(port, "/ready", {})}


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_a_server_is_found(kind: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    assert await checks(server.sockets[0].getsockname()[1])[kind]()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_nobody_is_found_on_a_closed_port(kind: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        await checks(free_port())[kind]()


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_a_probe_that_meets_itself_finds_nobody_and_leaves_the_port(kind: str) -> None:
    """The pod would be ready before it listens, or never listen: its port would be taken."""
    port = free_port()
    with meeting_themselves(port), pytest.raises(ConnectionRefusedError):
        await checks(port)[kind]()
    await eventually(lambda: can_be_taken(port))
