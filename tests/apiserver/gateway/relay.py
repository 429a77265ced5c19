"""A TCP relay whose other side can change or go away, as the address of a Service does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Listens on one port; each new connection goes to the next of `backends`."""

    def __init__(self, *backends: int) -> None:
        self.backends = list(backends)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._turn = itertools.count()
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, on the same port as before after a stop."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut those there are."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.backends:
            writer.transport.abort()
            return
        port = self.backends[next(self._turn) % len(self.backends)]
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, outer}
        await asyncio.gather(_pump(reader, outer), _pump(inner, writer))
        self._open -= {writer, outer}


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def relay(*backends: int) -> AsyncIterator[Relay]:
    made = Relay(*backends)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
