"""A TCP relay: bytes both ways, either side closed on its own, the slower side sets the pace."""

import asyncio
from collections.abc import Callable
from typing import cast

from nexus_local.node.ports import HOST, refuse_itself
from nexus_local.node.traffic import Traffic

_CONNECT_SECONDS = 5.0


class _Side(asyncio.Protocol):
    """One of the two connections; what it receives goes out on the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._early: list[bytes] = []
        self.ended = False  # nothing more comes in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        else:
            self._early.append(data)

    def eof_received(self) -> bool:
        self.ended = True
        self.pass_end()
        return True  # the other direction stays open

    def pass_end(self) -> None:
        """Pass an end on; after both ends nobody but us would close the two connections."""
        other = self.other
        if not self.ended or other is None:
            return
        if other.transport is not None and other.transport.can_write_eof():
            other.transport.write_eof()
        if other.ended:
            self.close()
            other.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.other is not None:
            self.other.close(abort=exc is not None)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def join(self, other: "_Side") -> None:
        """Pair two open connections and pass on what came in before."""
        self.other, other.other = other, self
        for side in (self, other):
            side.catch_up()
        for side in (self, other):
            side.pass_end()

    def catch_up(self) -> None:
        """Pass on what came in before the other side was there."""
        for data in self._early:
            if self.other is not None:
                self.other.write(data)
        self._early.clear()

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def has_gone(self) -> bool:
        return self.transport is None

    def close(self, *, abort: bool = False) -> None:
        if self.transport is not None:
            if abort:
                self.transport.abort()
            else:
                self.transport.close()


class _Inbound(_Side):
    """A client's connection, for which a pod has yet to be found."""

    def __init__(self, relay: "Relay") -> None:
        super().__init__()
        self.target: int | None = None
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._relay.accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._relay.forget(self)


class Relay:
    """Listens on one loopback port and connects each client to a target chosen at that moment."""

    def __init__(self, choose: Callable[[], int | None], traffic: Traffic | None = None) -> None:
        """Take targets from `choose`: a local port, or None to close the client at once.

        traffic: where the connections are counted.
        """
        self._choose = choose
        self._traffic = traffic or Traffic()
        self._server: asyncio.Server | None = None
        self._open: set[_Inbound] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int | None:
        """The port it listens on, None while it does not."""
        if self._server is None:
            return None
        return int(self._server.sockets[0].getsockname()[1])

    async def listen(self, port: int) -> None:
        """Begin to listen; raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Inbound(self), HOST, port)

    async def close(self) -> None:
        """Stop listening and cut what is connected."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for inbound in list(self._open):
            inbound.close(abort=True)

    def accepted(self, inbound: _Inbound) -> None:
        """Look for a target of a new client."""
        self._open.add(inbound)
        task = asyncio.get_running_loop().create_task(self._connect(inbound))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def forget(self, inbound: _Inbound) -> None:
        """Drop a client that has gone."""
        self._open.discard(inbound)
        if inbound.target is not None:
            self._traffic.end(inbound.target)

    async def _connect(self, inbound: _Inbound) -> None:
        port = self._choose()
        if port is None or inbound.has_gone():
            inbound.close()
            return
        inbound.target = port
        self._traffic.begin(port)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                transport, outbound = await loop.create_connection(_Side, HOST, port)
            refuse_itself(transport)
        except (OSError, TimeoutError):
            inbound.close()
            return
        if inbound.has_gone():
            outbound.close()
            return
        inbound.join(outbound)
