"""The gateway as one ASGI application: identity, errors and metrics around two halves.

The hot path is plain ASGI; FastAPI serves the rest.  FastAPI's routing and validation alone
cost more than the whole proxying of a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import orjson

from nexus_api.notices import NOTICES_PATH
from nexus_gateway.auth import Principal
from nexus_gateway.chat.routes import chat, completions, embeddings
from nexus_gateway.errors import GatewayError, MethodNotAllowed
from nexus_gateway.origin import check_origin
from nexus_gateway.rest.app import build_app
from nexus_gateway.services import Services
from nexus_gateway.wire import (
    JSON,
    Disconnected,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    limited,
    linger,
)

LOG = logging.getLogger(__name__)
CLIENT_CLOSED = 499
TOO_LARGE = 413
CLOSE = (b"connection", b"close")

Handler = Callable[[Services, Exchange], Awaitable[None]]
HOT: dict[str, Handler] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completions,
    "/v1/embeddings": embeddings,
}
OPEN = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/favicon.ico", NOTICES_PATH})
"""Paths without an API key; that of notices asks for a token of its own."""


class Gateway:
    """The ASGI application of one process."""

    def __init__(self, services: Services) -> None:
        """Take the parts; they start and stop with the server."""
        self.services = services
        self._rest = build_app(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's event, as ASGI has it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.services.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.services.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = ending_connection(send) if self.services.draining else send
        exchange = Exchange(scope, receive, send)
        scope["nexus.began"] = time.perf_counter()
        try:
            exchange.principal = scope["nexus.principal"] = self._admit(exchange)
            if (handler := HOT.get(exchange.path)) is not None:
                await self._serve_hot(exchange, handler)
            else:
                await self._serve_rest(exchange, receive, send)
        except Disconnected:
            exchange.status = CLIENT_CLOSED
        except GatewayError as error:
            await self._refuse(exchange, error)
        except Exception:
            LOG.exception("request %s failed", exchange.request_id.decode())
            internal = GatewayError("the gateway failed; its log has the request's id")
            await self._refuse(exchange, internal)
        finally:
            self._observe(exchange)

    def _admit(self, exchange: Exchange) -> Principal:
        """Return who asks.  Raises Forbidden, Unauthorized, TooMany."""
        services = self.services
        check_origin(
            exchange.method,
            exchange.headers,
            loopback_only=services.settings.loopback and not services.keys.configured,
            allowed=services.settings.allowed_hosts,
        )
        if exchange.path in OPEN:
            return Principal(roles=frozenset())
        return services.keys.identify(
            exchange.header(b"authorization"), exchange.header(b"x-api-key")
        )

    async def _serve_hot(self, exchange: Exchange, handler: Handler) -> None:
        if exchange.method != "POST":
            message = f"{exchange.method} is not offered at {exchange.path}"
            raise MethodNotAllowed(message, headers={"allow": "POST"})
        exchange.principal.require("reader")
        await handler(self.services, exchange)

    async def _serve_rest(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.body" and exchange.status == TOO_LARGE:
                await send({**message, "more_body": True})
                await linger(receive)
                message = {"type": "http.response.body", "body": b""}
            elif message["type"] == "http.response.start":
                exchange.status = message["status"]
                own = [(b"x-request-id", exchange.request_id)]
                if exchange.status == TOO_LARGE:
                    own.append(CLOSE)  # what is still under way is not read to its end
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        limit = self.services.settings.max_body_bytes
        if exchange.header(b"content-type").startswith("multipart/"):
            limit = self.services.settings.max_upload_bytes
        await self._rest(exchange.scope, limited(receive, limit), send_with_id)

    async def _refuse(self, exchange: Exchange, error: GatewayError) -> None:
        if exchange.status:
            return  # the response has begun: all that is left is to break it off
        headers = [(k.encode(), v.encode("latin-1")) for k, v in error.headers.items()]
        if error.status == TOO_LARGE:
            await exchange.start(error.status, [JSON, CLOSE, *headers])
            await exchange.write(orjson.dumps(error.payload()))
            await exchange.linger()
            await exchange.finish()
            return
        await exchange.reply(error.status, error.payload(), headers)

    def _observe(self, exchange: Exchange) -> None:
        scope, metrics = exchange.scope, self.services.metrics
        route = exchange.path if exchange.path in HOT else _template(scope)
        model = scope.get("nexus.model", "")
        tenant = exchange.principal.tenant
        metrics.requests.labels(route, tenant, model, exchange.status).inc()
        metrics.seconds.labels(route).observe(time.perf_counter() - scope["nexus.began"])


def ending_connection(send: Send) -> Send:
    """Return `send` with every response telling the client to use another connection next."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
        await send(message)

    return closing


def _template(scope: Scope) -> str:
    """Return the path of the route that served a request, so that metrics stay few."""
    return getattr(scope.get("route"), "path", "unmatched")
