"""One HTTP request on the raw ASGI path, and its one response."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import orjson
from starlette.exceptions import HTTPException

from nexus_gateway.auth import Principal
from nexus_gateway.errors import BadRequest, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 5.0

JSON = (b"content-type", b"application/json")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


class Exchange:
    """A request being answered: its identity, its body, and its response as it is sent."""

    __slots__ = (
        "_receive",
        "_send",
        "finished",
        "headers",
        "method",
        "path",
        "principal",
        "request_id",
        "scope",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id(self.headers.get(b"x-request-id", b""))
        self.principal = Principal()
        self.status = 0
        self.finished = False

    def header(self, name: bytes) -> str:
        """Return a request header as text, "" when it is not there."""
        return self.headers.get(name, b"").decode("latin-1")

    async def body(self, limit: int) -> bytes:
        """Read the whole request body.  Raises TooLarge as soon as it passes `limit` bytes."""
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise too_large(limit)
        message = await self._receive()
        if not message.get("more_body"):
            data: bytes = message.get("body", b"")
            if message["type"] == "http.disconnect":
                raise Disconnected
            if len(data) > limit:
                raise too_large(limit)
            return data
        parts, size = [message["body"]], len(message["body"])
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large(limit)
        return b"".join(parts)

    async def gone(self) -> None:
        """Return when the client has gone.  To be awaited beside the work, once the body is in."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def linger(self) -> None:
        """Read on and forget what the client still sends."""
        await linger(self._receive)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head of the response, with the request's id on it."""
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"x-request-id", self.request_id)],
            }
        )

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; waits while the client reads slower than we write."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """Send the last piece of the body."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def reply(self, status: int, payload: object, headers: Headers | None = None) -> None:
        """Answer with JSON."""
        await self.reply_bytes(status, orjson.dumps(payload), [JSON, *(headers or ())])

    async def reply_bytes(self, status: int, data: bytes, headers: Headers) -> None:
        """Answer with bytes at hand."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(data))])
        await self.finish(data)


async def linger(receive: Receive) -> None:
    """Read on and forget what a client still sends after its request was refused.

    Closing at once would reset the connection, and a client that writes before it reads would
    never see why.  Bounded: 64 MiB, 5 s.
    """
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            more = True
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message["type"] == "http.request" and message.get("more_body", False)


def request_id(given: bytes) -> bytes:
    """Return the client's request id when it is printable and short, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex.encode()


def limited(receive: Receive, limit: int) -> Receive:
    """Return `receive` for FastAPI, refusing a body as soon as it passes `limit` bytes."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(TooLarge.status, too_large(limit).message)
        return message

    return counting


def too_large(limit: int) -> TooLarge:
    """Return the refusal of a body that is longer than `limit` bytes."""
    return TooLarge(f"the request body is larger than the {limit} bytes that are accepted")


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a request body.  Raises BadRequest unless it is one JSON object in UTF-8."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return value


@asynccontextmanager
async def cancelled_when_gone(exchange: Exchange) -> AsyncIterator[None]:
    """Cancel the work inside when the client goes, and raise Disconnected instead.

    To be entered once the request's body has been read.
    """
    worker = asyncio.current_task()
    watch = asyncio.ensure_future(exchange.gone())
    left = False

    def cancel(done: asyncio.Future[None]) -> None:
        nonlocal left
        if worker is not None and not done.cancelled() and not exchange.finished:
            left = True
            worker.cancel()

    watch.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError:
        if left and worker is not None and not worker.uncancel():
            raise Disconnected from None
        raise
    finally:
        watch.remove_done_callback(cancel)
        watch.cancel()
