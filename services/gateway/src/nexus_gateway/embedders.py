"""The embedding server's models, as names that requests may use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import orjson

from nexus_gateway.errors import NotFound, NotReady
from nexus_gateway.upstream import Pool, Response, UpstreamBroken, UpstreamUnreachable
from nexus_gateway.upstream.pool import Target

LOG = logging.getLogger(__name__)
FRESH_SECONDS = 60.0
TIMEOUT = 3.0
MAX_ANSWER = 1024 * 1024


class Embedders:
    """Names of the embedder's models, asked once a minute."""

    def __init__(self, pool: Pool, url: str) -> None:
        self.target = Target.of(url)
        self._pool = pool
        self._models: list[dict[str, Any]] = []
        self._asked = float("-inf")

    async def models(self) -> list[dict[str, Any]]:
        """Return the embedder's models; those known before when it does not answer."""
        now = asyncio.get_running_loop().time()
        if self._models and now - self._asked < FRESH_SECONDS:
            return self._models
        try:
            response = await self._pool.request(
                "GET", self.target, "/v1/models", headers={}, within=TIMEOUT
            )
            try:
                data = await response.read(limit=MAX_ANSWER, idle_timeout=TIMEOUT)
                if response.status == 200:  # noqa: PLR2004 - HTTP success
                    self._models = [m for m in orjson.loads(data)["data"] if m.get("id")]
                    self._asked = now
            finally:
                response.close()
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError, ValueError, KeyError) as error:
            LOG.warning("the embedder does not say its models: %s", error)
        return self._models

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Response:
        """Pass a request for embeddings on.  Raises UpstreamUnreachable, UpstreamBroken."""
        sent = {"content-type": "application/json", **headers}
        return await self._pool.request(
            "POST", self.target, "/v1/embeddings", headers=sent, body=body, within=None
        )

    async def check(self, name: object) -> str:
        """Return the name of an embedding model.  Raises NotFound, NotReady."""
        models = await self.models()
        if not models:
            raise NotReady("the embedder does not answer yet")
        if isinstance(name, str) and any(model["id"] == name for model in models):
            return name
        known = ", ".join(str(model["id"]) for model in models)
        raise NotFound(
            f"there is no embedding model {name!r}; there is {known}",
            param="model",
            code="model_not_found",
        )
