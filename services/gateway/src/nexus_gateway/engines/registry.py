"""From a route to the engine's way of speaking; Triton's libraries are loaded on first use."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from nexus_gateway.control.routes import ModelRoute
from nexus_gateway.engines.base import Upstream
from nexus_gateway.engines.openai_http import LLAMACPP, VLLM, OpenAiHttp
from nexus_gateway.errors import NotReady
from nexus_gateway.upstream import Pool

if TYPE_CHECKING:
    from nexus_gateway.engines.triton.upstream import Triton


class Engines:
    """The upstreams of all routes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._triton: Triton | None = None
        self._loading = asyncio.Lock()

    async def upstream(self, route: ModelRoute) -> Upstream:
        """Return how to reach a route's model.  Raises NotReady while it has no address."""
        if route.target is None:
            raise NotReady(f"model {route.asked_as!r} is not ready: {route.why_not}")
        if route.engine == "triton":
            servers = await self._servers()
            return servers.upstream(route.target.origin, route.served_as)
        dialect = VLLM if route.engine == "vllm" else LLAMACPP
        return OpenAiHttp(self._pool, route.target, route.served_as, dialect)

    async def _servers(self) -> Triton:
        """Load gRPC beside the event loop, once: it takes most of a second and 30 MB."""
        if self._triton is None:
            async with self._loading:
                if self._triton is None:
                    name = "nexus_gateway.engines.triton.upstream"
                    module = await asyncio.to_thread(importlib.import_module, name)
                    self._triton = module.Triton()
        return self._triton

    async def stop(self) -> None:
        """Close the connections that are not the pool's."""
        if self._triton is not None:
            await self._triton.close()
