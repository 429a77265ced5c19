"""Connections kept open by address, and the one safe repeat."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from nexus_gateway.upstream.connection import Connection, Response, UpstreamBroken

IDLE_SECONDS = 30.0
IDLE_PER_ORIGIN = 128
LONGEST_USE = 60.0  # a Service gives a new connection the chance of a new replica
# A Service refuses for about a second after its first pod got ready: every node's rules follow
# the pod's state, and are written once a second at most.  Seconds between attempts.
REFUSED_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 0.8)
PORTS = {"http": 80, "https": 443, "grpc": 8001, "grpcs": 8001}


class UpstreamUnreachable(Exception):
    """Nothing accepts connections at the upstream's address."""


class Origin(NamedTuple):
    """Where connections go."""

    host: str
    port: int
    tls: bool


class Target(NamedTuple):
    """An upstream's address, parsed once."""

    origin: Origin
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Parse `http(s)://host[:port][/base]` or `grpc(s)://host[:port]`.

        Raises ValueError on anything else.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a runtime: http:// or grpc://")
        tls = parts.scheme in {"https", "grpcs"}
        origin = Origin(parts.hostname, parts.port or PORTS[parts.scheme], tls)
        return cls(origin, parts.path.rstrip("/"))


class Pool:
    """Open connections by origin; a request takes one and its response gives it back."""

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        longest_use: float = LONGEST_USE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._connect_timeout = connect_timeout
        self._longest_use = longest_use
        self.tls = tls
        self._closed = False

    async def request(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        within: float | None,
    ) -> Response:
        """Send one request and return its response once the head is there.

        A kept connection that turns out to be closed before it gave any answer is replaced by a
        fresh one, once: an upstream may close an idle connection just when it is taken.  Where
        nothing accepts a connection, it is tried again for about two seconds.
        Raises UpstreamUnreachable, UpstreamBroken, TimeoutError (after `within` seconds
        without the head of a response; None: the caller keeps the time).
        """
        data = _render(method, target, path, headers, body)
        kept = self._take(target.origin)
        if kept is not None:
            try:
                return await kept.exchange(data, within=within)
            except UpstreamBroken as error:
                if error.started:
                    raise
        fresh = await self._connected(target.origin)
        return await fresh.exchange(data, within=within)

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    async def _connected(self, origin: Origin) -> Connection:
        """Connect, with patience for a Service whose rules are on their way."""
        for pause in REFUSED_PAUSES:
            try:
                return await self._connect(origin)
            except ConnectionRefusedError:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        try:
            return await self._connect(origin)
        except ConnectionRefusedError as error:
            raise _unreachable(origin, error) from error

    async def _connect(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        # With some jitter: what was opened together is not to be closed together.
        until = loop.time() + self._longest_use * random.uniform(0.5, 1.0)  # noqa: S311

        def give_back(connection: Connection) -> None:
            idle = self._idle.setdefault(origin, deque())
            if self._closed or len(idle) >= IDLE_PER_ORIGIN or loop.time() >= until:
                connection.close()
                return
            connection.idle_since = loop.time()
            idle.append(connection)

        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(give_back),
                    origin.host,
                    origin.port,
                    ssl=(self.tls or ssl.create_default_context()) if origin.tls else None,
                )
        except ConnectionRefusedError:
            raise
        except (OSError, TimeoutError) as error:
            raise _unreachable(origin, error) from error
        return connection

    def close(self) -> None:
        """Close what is idle and keep nothing from now on."""
        self._closed = True
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()


def _unreachable(origin: Origin, error: OSError) -> UpstreamUnreachable:
    return UpstreamUnreachable(f"{origin.host}:{origin.port}: {error}")


def _render(
    method: str, target: Target, path: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    """Return the request's bytes.  A line break in a header's value is refused."""
    origin = target.origin
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"{method} {target.path}{path} HTTP/1.1", f"host: {host}:{origin.port}"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"the header {name} holds a line break")
        lines.append(f"{name}: {value}")
    if body or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
