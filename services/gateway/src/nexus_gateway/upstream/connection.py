"""One upstream connection: request bytes out, parsed response in, with back-pressure.

httptools parses; this module keeps the order of things.  aiohttp's client costs about twice
the time per request and httpx about ten times (benchmarks in the design notes), and a
gateway's whole work is this one loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
MAX_HEAD = 64 * 1024

# A machine that is gone says nothing: without these a stream from it would wait for its time limit.
# Seconds of silence before the first probe, between probes, and how many go unanswered.
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class UpstreamBroken(Exception):
    """The connection ended or spoke nonsense before the response was complete.

    `started` tells whether any byte of the response had come, that is, whether a repeat could
    make the upstream do the work twice.
    """

    def __init__(self, message: str, *, started: bool) -> None:
        super().__init__(message)
        self.started = started


class Response:
    """A response whose body arrives as it is produced.

    Iterate `chunks()` or `read()` it; `close()` (safe to repeat) gives the connection back when
    the response is complete and drops it otherwise, which tells the upstream to stop working.
    """

    __slots__ = ("_connection", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: dict[bytes, bytes]) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers

    async def next_chunk(self, idle_timeout: float | None) -> bytes:
        """Return all bytes at hand, waiting for the first; b"" at the end.

        Raises UpstreamBroken when the connection dies, TimeoutError after `idle_timeout`
        seconds of silence (None: the caller keeps the time).
        """
        return await self._connection.next_chunk(idle_timeout)

    async def read(self, *, limit: int, idle_timeout: float | None) -> bytes:
        """Return the whole body.  Raises UpstreamBroken when it is longer than `limit` bytes."""
        first = await self._connection.next_chunk(idle_timeout)
        if self._connection.complete and not self._connection.buffered:
            return first
        parts, size = [first], len(first)
        while chunk := await self._connection.next_chunk(idle_timeout):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise UpstreamBroken(f"the answer is longer than {limit} bytes", started=True)
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back, or drop it when the response is not complete."""
        self._connection.release()


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self, give_back: Callable[[Connection], None]) -> None:
        self._give_back = give_back
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._in_use = False
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self.buffered = 0
        self._paused = False
        self._headers: dict[bytes, bytes] = {}
        self._head_size = 0
        self._head_done = False
        self.complete = False
        self._error: UpstreamBroken | None = None
        self._keep_alive = False
        self._framed = False

    # -- the request ---------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether another request may be written."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, *, within: float | None) -> Response:
        """Write one request and wait for the head of its response.

        Raises UpstreamBroken, TimeoutError.
        """
        if self._transport is None:
            raise UpstreamBroken("the connection is closed", started=False)
        self._reset()
        self._in_use = True
        self._transport.write(request)
        try:
            await self._head(within)
        except BaseException:
            self.release()
            raise
        status = self._parser.get_status_code() if self._parser else 0
        return Response(self, status, self._headers)

    async def _head(self, within: float | None) -> None:
        while not self._head_done:
            if self._error:
                raise self._error
            await self._wait(within)

    async def next_chunk(self, idle_timeout: float | None) -> bytes:
        """Return all bytes at hand, waiting for the first; b"" at the end of the body."""
        while not self._chunks:
            if self.complete:
                return b""
            if self._error:
                raise self._error
            await self._wait(idle_timeout)
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self.buffered = 0
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return data

    def release(self) -> None:
        """End the exchange: back to the pool if clean, else closed."""
        if not self._in_use:
            return
        self._in_use = False
        if self.complete and self._keep_alive and not self._chunks and self.usable:
            self._give_back(self)
        else:
            self.close()

    def close(self) -> None:
        """Close at once; the upstream sees the end of the connection."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _wait(self, within: float | None) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            if within is None:
                await waiter
                return
            async with asyncio.timeout(within):
                await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- asyncio.Protocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: the transports of uvloop, which uvicorn may choose, have another base.
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        if not self._in_use or self._parser is None:
            self.close()  # an idle connection has nothing to say: never trust what follows
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the upstream's answer is not HTTP: {error}")
            self.close()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._in_use and not self.complete:
            if self._head_done and not self._framed and exc is None:
                self.complete = True  # a body without length ends with the connection
                self._keep_alive = False
            else:
                self._fail("the upstream closed the connection before its answer was complete")
        self._wake()

    def _fail(self, message: str) -> None:
        if self._error is None:
            started = self._head_done or self._head_size > 0
            self._error = UpstreamBroken(message, started=started)

    # -- httptools callbacks ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self._keep_alive = False
            raise ValueError("the upstream sent a second answer to one request")

    def on_status(self, status: bytes) -> None:
        self._head_size += len(status)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            raise ValueError(f"the upstream's header is longer than {MAX_HEAD} bytes")
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._head_done = True
        headers = self._headers
        self._framed = b"content-length" in headers or b"transfer-encoding" in headers

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self.buffered += len(body)
        if self.buffered > HIGH_WATER and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._keep_alive = bool(self._parser and self._parser.should_keep_alive())
        self.complete = True


def _keep_alive(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has them all
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
