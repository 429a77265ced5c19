"""Engines that offer OpenAI's routes over HTTP: llama.cpp and vLLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from nexus_gateway.engines.base import Json
from nexus_gateway.errors import BadRequest
from nexus_gateway.upstream import Pool, Response
from nexus_gateway.upstream.pool import Target

JSON_TYPE = {"content-type": "application/json"}
MAX_TOKENS = 16 * 1024 * 1024  # bytes of an answer of /tokenize


@dataclass(frozen=True)
class Dialect:
    """Where such engines differ: what POST /tokenize takes, what is not passed on."""

    tokenize: Callable[[str, str], Json]
    refused: frozenset[str] = frozenset()


def _llamacpp_tokenize(_model: str, text: str) -> Json:
    return {"content": text, "add_special": False}


def _vllm_tokenize(model: str, text: str) -> Json:
    return {"model": model, "prompt": text, "add_special_tokens": False}


# Which adapter counts is said by the model's name alone.
LLAMACPP = Dialect(_llamacpp_tokenize, frozenset({"lora"}))

# Fields of vLLM's that reach beyond the one request: a template is a program, the KV cache is
# shared with others.
VLLM = Dialect(_vllm_tokenize, frozenset({"chat_template", "kv_transfer_params", "vllm_xargs"}))


@dataclass(frozen=True)
class OpenAiHttp:
    """One model of a server with OpenAI's routes; `model` is the name it has there.

    `always` goes into every request, whatever the client says.  `formerly` is the name of the
    version before, "" for none: a server that has not been given the newer one yet answers by it.
    """

    pool: Pool
    target: Target
    model: str
    dialect: Dialect
    always: Json = field(default_factory=dict)
    formerly: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from other models."""
        return (self.target, self.model)

    async def send(self, path: str, body: Json, headers: Mapping[str, str]) -> Response:
        """Pass the request on under the model's name there.  Raises as `Upstream.send`."""
        for name in self.dialect.refused & body.keys():
            raise BadRequest(f"{name} is not offered", param=name, code="not_offered")
        response = await self._send(self.model, path, body, headers)
        if response.status != 404 or not self.formerly:  # noqa: PLR2004 - HTTP Not Found
            return response
        response.close()
        return await self._send(self.formerly, path, body, headers)

    async def _send(
        self, model: str, path: str, body: Json, headers: Mapping[str, str]
    ) -> Response:
        return await self.pool.request(
            "POST",
            self.target,
            path,
            headers={**JSON_TYPE, **headers},
            body=orjson.dumps({**body, **self.always, "model": model}),
            within=None,
        )

    async def count(self, text: str, within: float) -> int | None:
        """Ask POST /tokenize.  Raises as `Upstream.count`."""
        response = await self.pool.request(
            "POST",
            self.target,
            "/tokenize",
            headers=JSON_TYPE,
            body=orjson.dumps(self.dialect.tokenize(self.model, text)),
            within=within,
        )
        try:
            data = await response.read(limit=MAX_TOKENS, idle_timeout=within)
        finally:
            response.close()
        if response.status != 200:  # noqa: PLR2004 - HTTP success
            return None
        answer = orjson.loads(data)
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return len(tokens) if isinstance(tokens, list) else None
