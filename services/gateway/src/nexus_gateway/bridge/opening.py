"""Waiting until a Triton model answers: Triton says that it is ready long before it does.

Its backend opens an adapter when somebody asks for it, and a chat template is first rendered for a
question.  So each name is asked once, in the way in which everything will be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from nexus_gateway.engines.triton.failures import Failure
from nexus_gateway.engines.triton.upstream import Triton, TritonUpstream
from nexus_gateway.errors import BadRequest, GatewayError, UpstreamError
from nexus_gateway.upstream import UpstreamBroken, UpstreamUnreachable
from nexus_gateway.upstream.pool import Origin

CHAT = "/v1/chat/completions"
LOAD_SECONDS = 7200.0
FIRST_SECONDS = 900.0
"""For the first answer of a name: adapters are loaded and kernels compiled meanwhile."""
READY_SECONDS = 5.0
_PAUSE = 0.1
_MAX_ANSWER = 1 << 20
_FIRST = {
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 1,
    "temperature": 0.0,
}


class Refused(Exception):
    """The model does not answer, and would not another time."""


class Lost(Exception):
    """The server does not answer; another time it may."""


async def opened(servers: Triton, upstreams: Iterable[TritonUpstream]) -> None:
    """Return once each name of a model has answered.  Raises Refused, Lost."""
    for upstream in upstreams:
        await _loaded(servers, upstream.origin, upstream.model)
        await _first_answer(upstream)


async def is_ready(servers: Triton, origin: Origin, model: str) -> bool:
    """Tell whether a server says that it and the model are ready."""
    client = servers.channels.take(origin)
    sound = False
    try:
        told = await client.is_model_ready(model, client_timeout=READY_SECONDS)
        ready = bool(told and await client.is_server_ready(client_timeout=READY_SECONDS))
        sound = True
    except Failure:
        return False
    finally:
        servers.channels.give(origin, client, sound=sound)
    return ready


async def _loaded(servers: Triton, origin: Origin, model: str) -> None:
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            while not await is_ready(servers, origin, model):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise Lost(f"model {model!r} was not ready within {LOAD_SECONDS:g} s") from None


async def _first_answer(upstream: TritonUpstream) -> None:
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            reply = await upstream.send(CHAT, dict(_FIRST), {})
            try:
                await reply.read(limit=_MAX_ANSWER, idle_timeout=None)
            finally:
                reply.close()
    except (BadRequest, UpstreamError) as error:
        raise Refused(f"{upstream.name} answers nobody: {error}") from error
    except (GatewayError, UpstreamUnreachable, UpstreamBroken) as error:
        raise Lost(f"{upstream.name} gave no answer: {error}") from error
    except TimeoutError:
        raise Lost(f"{upstream.name} gave no answer within {FIRST_SECONDS:g} s") from None
