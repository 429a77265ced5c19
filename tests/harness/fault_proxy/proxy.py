"""The proxy itself: taps that clients connect to, and the way through to the API server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from fault_proxy.asked import Asked, read_request
from fault_proxy.event_stream import Cut, disturbed
from fault_proxy.faults import REASONS, Answer, Fault
from fault_proxy.record import Exchange, Record
from fault_proxy.script import Script
from fault_proxy.stale import StaleView

_NOT_FORWARDED = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive"}
)
_LONGEST_LINE = 1 << 24
_UPSTREAM = aiohttp.ClientTimeout(total=None, sock_connect=30)


@dataclass(eq=False)
class Tap:
    """An address of the proxy for one start of a client; once cut it forwards nothing more."""

    actor: str
    url: str = ""
    dead: bool = False
    _runner: web.AppRunner | None = None
    _transports: set[asyncio.Transport] = field(default_factory=set)

    def cut(self) -> None:
        """End every connection of this tap now; what the client still sends is lost."""
        self.dead = True
        self.interrupt()

    def interrupt(self) -> None:
        """End every connection; new ones are taken."""
        for transport in list(self._transports):
            transport.abort()


class FaultProxy:
    """Stands before one API server; an async context manager.

    `on_kill` is called when the script kills a client, after its tap was cut.
    """

    def __init__(
        self,
        upstream: str,
        *,
        tls: ssl.SSLContext | None = None,
        script: Iterable[Fault] = (),
        on_kill: Callable[[Tap], None] = lambda _tap: None,
        uncounted: frozenset[str] = frozenset({"leases"}),
    ) -> None:
        """Take the API server's URL; `uncounted` names resources whose writes are not counted."""
        self._upstream = upstream
        self._tls = tls
        self._faults = tuple(script)
        self._on_kill = on_kill
        self._uncounted = uncounted
        self._taps: list[Tap] = []
        self._past = StaleView()
        self.record = Record()

    async def __aenter__(self) -> Self:
        """Start; taps are opened by `open`."""
        self.script = Script(self._faults, asyncio.get_running_loop().time)
        connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_UPSTREAM, read_bufsize=_LONGEST_LINE
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut all that is left."""
        for tap in self._taps:
            tap.cut()
            if tap._runner is not None:
                await tap._runner.cleanup()
        await self._session.close()

    async def open(self, actor: str) -> Tap:
        """Open an address for one start of a client."""
        tap = Tap(actor)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, tap)

        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", handle)
        # A handler ends with its connection: a watch that nobody reads any more is no watch.
        tap._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await tap._runner.setup()
        await web.TCPSite(tap._runner, "127.0.0.1", 0).start()
        host, port = tap._runner.addresses[0][:2]
        tap.url = f"http://{host}:{port}"
        self._taps.append(tap)
        return tap

    async def _handle(self, request: web.Request, tap: Tap) -> web.StreamResponse:
        transport = request.transport
        if transport is None or tap.dead:
            return _cut_off(request)
        tap._transports.add(transport)
        try:
            body = await request.read()
            asked = read_request(request.method, request.path, request.query)
            write = (
                asked.writes
                and asked.resource not in self._uncounted
                and "dryRun" not in request.query
            )
            exchange = self.record.begin(asked, body, actor=tap.actor, write=write)
            try:
                return await self._through(request, body, exchange, tap)
            except (_Cut, ConnectionError, aiohttp.ClientConnectionError) as problem:
                exchange.disturbed = exchange.disturbed or repr(problem)
                return _cut_off(request)
            finally:
                self.record.end(exchange, exchange.status)
        finally:
            tap._transports.discard(transport)

    async def _through(
        self, request: web.Request, body: bytes, exchange: Exchange, tap: Tap
    ) -> web.StreamResponse:
        """Disturb the request, or let it through."""
        self._check_outage(exchange)
        if exchange.write:
            await self._check_kill(request, body, exchange, tap)
        refusal = await self._disturb(request, body, exchange)
        if refusal is not None:
            return refusal
        if exchange.asked.verb == "watch":
            return await self._watch(request, exchange)
        stale = self.script.stale(exchange.asked, self.record.count)
        version = self._past.version(stale.behind) if stale else None
        if version is not None:
            return await self._old(request, exchange, version)
        return await self._forward(request, body, exchange)

    def _check_outage(self, exchange: Exchange) -> None:
        away, began = self.script.outage(exchange.number)
        if began:
            for one in self._taps:
                one.interrupt()
        if away:
            exchange.disturbed = "outage"
            raise _Cut

    async def _check_kill(
        self, request: web.Request, body: bytes, exchange: Exchange, tap: Tap
    ) -> None:
        kill = self.script.kill(exchange)
        if kill is None:
            return
        exchange.disturbed = f"killed {kill.when}"
        if kill.when == "after":
            await self._forward(request, body, exchange)
        tap.cut()
        self._on_kill(tap)
        raise _Cut

    async def _disturb(
        self, request: web.Request, body: bytes, exchange: Exchange
    ) -> web.Response | None:
        fault = self.script.disturbance(exchange.asked)
        if fault is None:
            return None
        if fault.carried_out:
            await self._forward(request, body, exchange)
        if isinstance(fault, Answer):
            exchange.disturbed = f"answered {fault.status}"
            return _refusal(exchange, fault)
        exchange.disturbed = f"stalled {fault.seconds:g} s"
        await asyncio.sleep(fault.seconds)
        raise _Cut

    async def _forward(
        self, request: web.Request, body: bytes, exchange: Exchange
    ) -> web.StreamResponse:
        if self._session.closed:
            raise _Cut
        async with self._session.request(
            request.method,
            self._upstream + request.raw_path,
            data=body or None,
            headers=_passed_on(request.headers),
        ) as answer:
            content = await answer.read()
            exchange.forwarded = exchange.status = answer.status
            if exchange.changed:
                self._past.note(content)
            kind = answer.headers.get("content-type", "application/json")
            return web.Response(status=answer.status, body=content, headers={"content-type": kind})

    async def _watch(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        async with self._session.get(
            self._upstream + request.raw_path, headers=_passed_on(request.headers)
        ) as answer:
            exchange.forwarded = exchange.status = answer.status
            kind = answer.headers.get("content-type", "application/json")
            if answer.status != web.HTTPOk.status_code:
                return web.Response(
                    status=answer.status, body=await answer.read(), headers={"content-type": kind}
                )
            response = web.StreamResponse(headers={"content-type": kind})
            await response.prepare(request)
            self.record.end(exchange, answer.status)
            events = disturbed(_lines(answer.content), lambda: self.script.event(exchange.asked))
            async with aclosing(events) as lines:
                try:
                    async for line in lines:
                        await response.write(line)
                except Cut:
                    exchange.disturbed = "watch cut"
                    raise _Cut from None
            return response

    async def _old(
        self, request: web.Request, exchange: Exchange, version: str
    ) -> web.StreamResponse:
        exchange.disturbed = f"as of version {version}"
        path, query = self._past.question(request.path, request.query, exchange.asked, version)
        async with self._session.get(
            self._upstream + path, params=query, headers=_passed_on(request.headers)
        ) as answer:
            content: dict[str, Any] = await answer.json()
            status = answer.status
        if exchange.asked.verb == "get" and status == web.HTTPOk.status_code:
            status, content = self._past.single(content, exchange.asked)
        exchange.forwarded = exchange.status = status
        return web.json_response(content, status=status)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    async for line in content:
        yield line


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in headers.items() if key.lower() not in _NOT_FORWARDED}
    return {**kept, "Accept-Encoding": "identity"}


class _Cut(Exception):
    """The connection of this request is to be cut."""


def _cut_off(request: web.Request) -> web.Response:
    """Cut the connection; the answer that is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)


def _refusal(exchange: Exchange, fault: Answer) -> web.Response:
    exchange.status = fault.status
    reason = REASONS.get(fault.status, "Unknown")
    details: dict[str, Any] = {}
    headers = {}
    if fault.retry_after:
        details["retryAfterSeconds"] = fault.retry_after
        headers["Retry-After"] = str(fault.retry_after)
    asked: Asked = exchange.asked
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"{asked}: the fault proxy answers {reason}",
        "reason": reason,
        "details": details,
        "code": fault.status,
    }
    return web.Response(
        status=fault.status,
        body=json.dumps(status).encode(),
        headers={"content-type": "application/json", **headers},
    )
