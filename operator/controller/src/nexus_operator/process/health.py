"""What kubelet and Prometheus ask of the process: /healthz, /readyz, /metrics."""

import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Question = Callable[[], str]
"""Answers what is wrong, nothing when all is well."""


class HealthServer:
    """A small HTTP server beside the operator.

    /healthz: 200 while the process does its work or waits its turn, else 503 with what is wrong;
    restarting would help.  /readyz: 200 when it reconciles with a full view or stands by for
    another that holds the Lease; restarting would not help.
    """

    def __init__(self, port: int, *, healthy: Question, ready: Question) -> None:
        """Take the port (0: any free one) and the two questions."""
        self._port = port
        self.port = port
        self._runner: web.AppRunner | None = None
        self._application = web.Application()
        self._application.router.add_get("/healthz", _answering(healthy))
        self._application.router.add_get("/readyz", _answering(ready))
        self._application.router.add_get("/metrics", _metrics)

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(self._application, access_log=None)
        await self._runner.setup()
        listening = _listen(self._port)
        await web.SockSite(self._runner, listening).start()
        self.port = int(listening.getsockname()[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


def _listen(port: int) -> socket.socket:
    """Open one socket for IPv4 and IPv6, where the machine has both."""
    if socket.has_dualstack_ipv6():
        address = ("::", port)
        return socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - kubelet and Prometheus ask


def _answering(question: Question) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        wrong = question()
        return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

    return answer


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
