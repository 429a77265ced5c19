"""The scripted neighbours themselves: they end with a test and leave nothing to be logged."""

import asyncio
import logging
import socket
import struct

import pytest
from gateway_scripted import Request, ScriptedServer, Stream


async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def endless(_request: Request, writer: asyncio.StreamWriter) -> None:
    stream = Stream(writer)
    while True:
        await stream.delta("again ")


REPLIES = {"/silent": silent, "/endless": endless}


async def ask(
    server: ScriptedServer, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and return once the script has begun."""
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not server.seen(path):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
    return reader, writer


@pytest.mark.parametrize("path", REPLIES)
def test_a_server_ends_in_the_midst_of_its_script(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def end_first() -> None:
        server = ScriptedServer(replies=dict(REPLIES))
        async with server.running():
            _, writer = await ask(server, path)
        writer.close()
        assert not server.hung_up.is_set()

    asyncio.run(end_first())
    assert not errors(caplog)


@pytest.mark.parametrize("path", REPLIES)
def test_a_client_that_resets_its_connection_has_hung_up(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> None:
        server = ScriptedServer(replies=dict(REPLIES))
        async with server.running():
            _, writer = await ask(server, path)
            reset = struct.pack("ii", 1, 0)
            connected = writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.transport.abort()
            await asyncio.wait_for(server.hung_up.wait(), 10)

    asyncio.run(leave())
    assert not errors(caplog)


def test_a_script_that_fails_fails_the_test() -> None:
    async def wrong(_request: Request, _writer: asyncio.StreamWriter) -> None:
        raise AssertionError("this was not to be asked")

    async def asked() -> None:
        server = ScriptedServer(replies={"/": wrong})
        async with server.running():
            reader, writer = await ask(server, "/")
            assert await reader.read() == b""
            writer.close()

    with pytest.raises(ExceptionGroup, match="scripts failed") as failed:
        asyncio.run(asked())
    assert failed.group_contains(AssertionError, match="this was not to be asked")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
