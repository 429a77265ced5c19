"""The HTTP server, and how it goes: without failing a request that was on its way."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from types import FrameType

import uvicorn

from nexus_gateway.services import Services

LOG = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """Ends on SIGTERM in three steps.

    First `/readyz` answers 503 and every response ends its connection, while requests are still
    taken: Services and load balancers learn of the end later than the process does.
    `drain_seconds` on, nothing more is accepted.  Then answers that are being written get the
    grace of uvicorn's configuration; a stream that lasts longer ends with an error event.
    SIGINT, or a second SIGTERM, skips the first step.
    """

    def __init__(self, config: uvicorn.Config, services: Services, *, drain_seconds: float) -> None:
        super().__init__(config)
        self._services = services
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, as uvicorn does."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal; runs between two instructions of the event loop's own thread."""
        first = sig == signal.SIGTERM and not self._services.draining
        self._services.draining = True
        if not first or not self._drain_seconds or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._end_later, sig)

    def _end_later(self, sig: int) -> None:
        LOG.info("no more requests from %g s on", self._drain_seconds)
        loop = asyncio.get_running_loop()
        loop.call_later(self._drain_seconds, super().handle_exit, sig, None)
