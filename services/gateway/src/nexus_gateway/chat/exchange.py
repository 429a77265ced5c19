"""One call of a runtime for one client: errors mapped, stream relayed, disconnects passed on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex

from nexus_gateway.chat import upstream_errors
from nexus_gateway.chat.answer import Answer, AnswerGivenUp, MalformedAnswer
from nexus_gateway.chat.sse import EventBuffer, MalformedStream, event_of
from nexus_gateway.engines import Reply
from nexus_gateway.errors import GatewayError, NotReady, UpstreamError
from nexus_gateway.services import Services
from nexus_gateway.upstream import UpstreamBroken, UpstreamUnreachable
from nexus_gateway.wire import JSON, Exchange

ENDING_SECONDS = 5.0
MAX_ANSWER = 64 * 1024 * 1024
PASSED_ON = ("traceparent", "tracestate", "baggage")
EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True)
class Call:
    """What is sent, given the headers.  `name` is the model's, for messages and metrics."""

    name: str
    send: Callable[[Mapping[str, str]], Awaitable[Reply]]
    stream: bool = False
    tenant: str = ""


async def converse(
    services: Services, exchange: Exchange, call: Call, answer: Answer | None
) -> None:
    """Send the call and relay its answer, through `answer` when there is one.

    Raises GatewayError as long as nothing was sent; once a stream runs, an error becomes its
    last event and no [DONE] follows.
    """
    try:
        async with asyncio.timeout(services.settings.request_timeout):
            response = await call.send(_headers(exchange, call))
            try:
                if response.status != 200:  # noqa: PLR2004 - HTTP success
                    data = await response.read(limit=MAX_ANSWER, idle_timeout=None)
                    raise upstream_errors.of_response(
                        call.name, response.status, data, response.headers
                    )
                if call.stream and answer:
                    await _relay(services, exchange, call, response, answer)
                else:
                    await _whole(services, exchange, call, response, answer)
            finally:
                response.close()
    except (UpstreamUnreachable, UpstreamBroken, MalformedStream, TimeoutError) as error:
        refusal = upstream_errors.of_exception(call.name, error)
        if not exchange.status:
            raise refusal from error
        await _end_with(exchange, refusal, answer)
    except asyncio.CancelledError:
        if services.draining and exchange.status and not exchange.finished:
            ending = NotReady("the gateway is being replaced", code="stream_interrupted")
            await _end_with(exchange, ending, answer)
        raise


def _headers(exchange: Exchange, call: Call) -> dict[str, str]:
    """Return what goes along with a call.

    vLLM makes the answer's id of the request's, and answers are logged and spoken of by theirs: so
    what a client may choose, and use twice, gets an end of ours.
    """
    headers = {
        "accept": "text/event-stream" if call.stream else "application/json",
        "x-request-id": f"{exchange.request_id.decode('latin-1')}-{token_hex(8)}",
    }
    for name in PASSED_ON:
        value = exchange.header(name.encode())
        if value and value.isprintable():
            headers[name] = value
    return headers


async def _whole(
    services: Services, exchange: Exchange, call: Call, response: Reply, answer: Answer | None
) -> None:
    data = await response.read(limit=MAX_ANSWER, idle_timeout=None)
    if answer is not None:
        try:
            data = answer.whole(data)
        except AnswerGivenUp:
            message = f"model {call.name!r} gave up the answer; it may be restarting"
            raise NotReady(message, retry_after=2) from None
        except (MalformedAnswer, TypeError, AttributeError) as error:
            raise UpstreamError(f"model {call.name!r} gave no usable answer: {error}") from error
        _count(services, call, answer)
    await exchange.reply_bytes(200, data, [JSON])


async def _relay(
    services: Services, exchange: Exchange, call: Call, response: Reply, answer: Answer
) -> None:
    """Relay whole events only, so that an error event can always follow on a clean line."""
    if not response.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
        raise UpstreamError(f"model {call.name!r} was asked for a stream and gave something else")
    await exchange.start(200, EVENT_STREAM)
    buffer, first = EventBuffer(), True
    while chunk := await response.next_chunk(None):
        events = [answer.event(event) for event in buffer.feed(chunk)]
        data = b"".join(events)
        if data:
            await exchange.write(data)
        if first and answer.texts:
            first = False
            elapsed = time.perf_counter() - exchange.scope["nexus.began"]
            services.metrics.first_token_seconds.labels(call.tenant, call.name).observe(elapsed)
        if answer.failed:
            break
    if not answer.done and not answer.failed:
        raise UpstreamBroken("the stream ended before it was complete", started=True)
    _count(services, call, answer)
    await exchange.finish()


async def _end_with(exchange: Exchange, refusal: GatewayError, answer: Answer | None) -> None:
    """End a running stream with an error event; break it off when the client does not read."""
    if answer is not None:
        answer.failed = True
    if exchange.finished:
        return  # its last piece is on its way, and nothing can follow that
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDING_SECONDS):
            await exchange.finish(event_of(refusal.payload()))


def _count(services: Services, call: Call, answer: Answer) -> None:
    for kind in ("prompt", "completion"):
        count = answer.usage.get(f"{kind}_tokens")
        if isinstance(count, int) and count > 0:
            services.metrics.tokens.labels(call.tenant, call.name, kind).inc(count)
