"""What is asked on loopback: a request in OpenAI's form goes the way that users' requests go."""

from __future__ import annotations

from collections.abc import Mapping

from nexus_gateway.bridge.opening import CHAT, is_ready
from nexus_gateway.chat import upstream_errors
from nexus_gateway.chat.question import messages_of
from nexus_gateway.engines.triton.upstream import Triton, TritonUpstream
from nexus_gateway.errors import BadRequest, GatewayError, NotFound, NotReady
from nexus_gateway.upstream import UpstreamBroken, UpstreamUnreachable
from nexus_gateway.wire import (
    JSON,
    Disconnected,
    Exchange,
    Receive,
    Scope,
    Send,
    cancelled_when_gone,
    json_object,
)

MAX_BODY = 16 * 1024 * 1024
MAX_ANSWER = 64 * 1024 * 1024


class Bridge:
    """The ASGI application: `/health`, `/v1/models` and whole answers of chat completions.

    served: the model alone, and with each adapter, by the names that requests use.
    """

    def __init__(self, servers: Triton, served: Mapping[str, TritonUpstream]) -> None:
        self._servers = servers
        self._served = dict(served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send)
        try:
            await self._answer(exchange)
        except GatewayError as error:
            await exchange.reply(error.status, error.payload())
        except Disconnected:
            return  # who asked has gone

    async def _answer(self, exchange: Exchange) -> None:
        match (exchange.method, exchange.path):
            case ("GET", "/health"):
                one = next(iter(self._served.values()))
                if not await is_ready(self._servers, one.origin, one.model):
                    raise NotReady(f"Triton does not say that model {one.model!r} is ready")
                await exchange.reply(200, {"status": "ok"})
            case ("GET", "/v1/models"):
                models = [{"id": name, "object": "model"} for name in self._served]
                await exchange.reply(200, {"object": "list", "data": models})
            case ("POST", "/v1/chat/completions"):
                await self._chat(exchange)
            case (method, path):
                raise NotFound(f"there is no {method} {path} here")

    async def _chat(self, exchange: Exchange) -> None:
        body = json_object(await exchange.body(MAX_BODY))
        messages_of(body)  # refuses what has no messages
        if body.get("stream"):
            raise BadRequest("answers are whole here", param="stream", code="not_offered")
        upstream = self._served.get(str(body.get("model")))
        if upstream is None:
            raise NotFound(f"there is no model {body.get('model')!r} here", param="model")
        async with cancelled_when_gone(exchange):
            try:
                reply = await upstream.send(CHAT, body, {})
                try:
                    data = await reply.read(limit=MAX_ANSWER, idle_timeout=None)
                finally:
                    reply.close()
            except (UpstreamUnreachable, UpstreamBroken, TimeoutError) as error:
                raise upstream_errors.of_exception(upstream.name, error) from error
            await exchange.reply_bytes(200, data, [JSON])
