"""The hot path: `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`, raw ASGI."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from nexus_gateway.chat import canned
from nexus_gateway.chat.answer import Answer, Grounding
from nexus_gateway.chat.exchange import EVENT_STREAM, Call, converse
from nexus_gateway.chat.grounding import ground
from nexus_gateway.chat.question import messages_of, question_of
from nexus_gateway.control.routes import ModelRoute
from nexus_gateway.errors import BadRequest
from nexus_gateway.services import Services
from nexus_gateway.wire import Exchange, cancelled_when_gone, json_object
from nexus_knowledge.ledger import Response as LoggedResponse
from nexus_knowledge.prompting.messages import Messages, text_of
from nexus_knowledge.prompting.prompt import NOTHING_RELEVANT

Json = dict[str, Any]


async def chat(services: Services, exchange: Exchange) -> None:
    """Answer `POST /v1/chat/completions`: proxied, or grounded where the model has knowledge."""
    body = await _body(services, exchange)
    route = services.model(exchange.principal, body.get("model"))
    exchange.scope["nexus.model"] = route.asked_as
    messages = messages_of(body)
    async with cancelled_when_gone(exchange):
        with services.place(route):
            if route.index:
                await _grounded(services, exchange, route, body, messages)
            else:
                asked = next((text_of(m) for m in reversed(messages) if m["role"] == "user"), "")
                asking = Asking("/v1/chat/completions", asked)
                await _proxied(services, exchange, route, body, asking)


async def completions(services: Services, exchange: Exchange) -> None:
    """Answer `POST /v1/completions`: passed on as it is."""
    body = await _body(services, exchange)
    route = services.model(exchange.principal, body.get("model"))
    exchange.scope["nexus.model"] = route.asked_as
    prompt = body.get("prompt")
    asked = prompt if isinstance(prompt, str) else ""
    async with cancelled_when_gone(exchange):
        with services.place(route):
            await _proxied(services, exchange, route, body, Asking("/v1/completions", asked))


async def embeddings(services: Services, exchange: Exchange) -> None:
    """Answer `POST /v1/embeddings`: passed on to the embedding server."""
    data = await exchange.body(services.settings.max_body_bytes)
    body = json_object(data)
    if "input" not in body:
        raise BadRequest(
            "input is missing: a string, a list of strings or of tokens", param="input"
        )
    async with cancelled_when_gone(exchange):
        name = await services.embedders.check(body.get("model"))
        exchange.scope["nexus.model"] = name
        call = Call(name, partial(services.embedders.send, data))
        await converse(services, exchange, call, None)


@dataclass(frozen=True)
class Asking:
    """What goes to the runtime's path, and the question as the log keeps it."""

    path: str
    question: str
    grounding: Grounding | None = None


@dataclass(frozen=True)
class Given:
    """An answer as the log keeps it; of no revision where it is the gateway's own."""

    response_id: str
    text: str
    revision: str = ""
    adapter_version: str = ""


async def _body(services: Services, exchange: Exchange) -> Json:
    body = json_object(await exchange.body(services.settings.max_body_bytes))
    if not isinstance(body.get("stream") or False, bool):
        raise BadRequest("stream must be true or false", param="stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", param="stream_options")
    return body


async def _grounded(
    services: Services, exchange: Exchange, route: ModelRoute, body: Json, messages: Messages
) -> None:
    question = question_of(messages)
    found, grounding = await ground(services, exchange.principal, route, question, body)
    asking = Asking("/v1/chat/completions", question.text, grounding)
    if not grounding.passages:
        await _nothing_relevant(services, exchange, route, body, asking)
        return
    body = {key: value for key, value in body.items() if key != "retrieval"}
    await _proxied(services, exchange, route, {**body, "messages": found}, asking)


async def _proxied(
    services: Services, exchange: Exchange, route: ModelRoute, body: Json, asking: Asking
) -> None:
    usage_wanted = bool((body.get("stream_options") or {}).get("include_usage"))
    answer = Answer(asking.grounding, usage_wanted)
    body = _with_defaults(body, route)
    upstream = await services.engines.upstream(route)
    send = partial(upstream.send, asking.path, body)
    call = Call(route.asked_as, send, stream=bool(body.get("stream")), tenant=route.tenant)
    await converse(services, exchange, call, answer)
    if not answer.failed:
        given = Given(
            answer.response_id,
            answer.texts.get(0, ""),
            revision=route.revision,
            adapter_version=route.adapter_version(answer.answered_as),
        )
        _log(services, route, asking, given)


def _with_defaults(body: Json, route: ModelRoute) -> Json:
    """Return the request with the resource's defaults for what it leaves open."""
    generation = route.resource.spec.generation
    body = dict(body)
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        body["max_tokens"] = generation.max_tokens
    if body.get("temperature") is None:
        body["temperature"] = float(generation.temperature)
    if body.get("stream"):
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body


async def _nothing_relevant(
    services: Services, exchange: Exchange, route: ModelRoute, body: Json, asking: Asking
) -> None:
    """Say that the documents hold no answer, without asking the model."""
    retrieval = asking.grounding.retrieval if asking.grounding else {}
    extra = {"citations": [], "retrieval": retrieval}
    response_id = canned.new_id()
    if body.get("stream"):
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = canned.stream(response_id, route.asked_as, NOTHING_RELEVANT, extra, usage=usage)
        await exchange.reply_bytes(200, events, EVENT_STREAM)
    else:
        whole = canned.completion(response_id, route.asked_as, NOTHING_RELEVANT, extra)
        await exchange.reply(200, whole)
    _log(services, route, asking, Given(response_id, NOTHING_RELEVANT))


def _log(services: Services, route: ModelRoute, asking: Asking, given: Given) -> None:
    """Have the answer logged if it falls into the sample."""
    percent = route.resource.spec.monitoring.sample_percent
    if not given.response_id or random.random() * 100 >= percent:  # noqa: S311 - a sample, no secret
        return
    passages: list[Json] = []
    if asking.grounding:
        passages = [
            {
                "number": passage.number,
                "document": passage.hit.document,
                "document_id": passage.hit.document_id,
                "chunk_id": passage.hit.chunk_id,
                "score": passage.hit.score,
                "text": passage.shown,
            }
            for passage in asking.grounding.passages
        ]
    services.answers.put(
        LoggedResponse(
            response_id=given.response_id,
            tenant=route.tenant,
            model=route.asked_as,
            question=asking.question,
            answer=given.text,
            index=asking.grounding.index if asking.grounding else "",
            passages=passages,
            revision=given.revision,
            adapter_version=given.adapter_version,
        )
    )
