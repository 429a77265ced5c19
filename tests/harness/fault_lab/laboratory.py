"""What all cases of a test share: one API server with our kinds, one mirror, one clock."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fault_lab.client import Client
from fault_lab.mirror import Mirror


@dataclass(frozen=True)
class Server:
    """An API server that has our kinds and Argo's."""

    url: str
    token: str = field(repr=False)
    tls: ssl.SSLContext | None


@dataclass
class Laboratory:
    """Opened by `laboratory`."""

    server: Server
    client: Client
    mirror: Mirror
    began: datetime
    loop_began: float
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self.server.url

    @property
    def token(self) -> str:
        """A token that may do everything."""
        return self.server.token

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to speak to it."""
        return self.server.tls

    def clock(self) -> datetime:
        """Return the time: real when the laboratory was opened, then as fast as the loop's."""
        passed = asyncio.get_running_loop().time() - self.loop_began
        return self.began + timedelta(seconds=passed)

    async def namespaces(self) -> tuple[str, str]:
        """Make two namespaces: one of a user, one of the platform."""
        number = next(self._numbers)
        stem = f"case-{self.began.strftime('%H%M%S%f')}-{number}"
        for name in (stem, f"{stem}-platform"):
            manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.client.create("/api/v1/namespaces", manifest)
        return stem, f"{stem}-platform"


@asynccontextmanager
async def laboratory(server: Server) -> AsyncIterator[Laboratory]:
    """Open a laboratory on an API server."""
    loop = asyncio.get_running_loop()
    async with (
        Client(server.url, server.token, server.tls) as client,
        Mirror(client) as mirror,
    ):
        yield Laboratory(server, client, mirror, datetime.now(UTC), loop.time())
