"""From a route to the engine's way of speaking; Triton's libraries are loaded on first use."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from nexus_gateway.control.routes import ModelRoute
from nexus_gateway.engines.base import Json, Upstream
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
        _check_adapter(route)
        if route.engine == "triton":
            servers = await self._servers()
            return servers.upstream(route.target.origin, route.name, route.adapter)
        if route.engine == "vllm":
            formerly = route.served_before
            return OpenAiHttp(self._pool, route.target, route.served_as, VLLM, formerly=formerly)
        return OpenAiHttp(self._pool, route.target, route.served_as, LLAMACPP, _scales(route))

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


def _check_adapter(route: ModelRoute) -> None:
    """Refuse an adapter that the status does not name.  Raises NotReady.

    vLLM would take the name of an adapter that is called as its model for the model's.
    """
    if route.adapter and route.adapter not in route.served_adapters:
        raise NotReady(
            f"model {route.asked_as!r} is not ready: no version of adapter {route.adapter!r} is "
            "released and served yet"
        )


def _scales(route: ModelRoute) -> Json:
    """Return what tells llama.cpp whether its adapter counts.

    It knows adapters by number and answers without one that it does not have, so what the live
    revision loaded is read from the status.  Prompts are not kept from one request to another:
    what an adapter computed must not serve a request without it.
    """
    if not route.served_adapters:
        return {}
    scales = [
        {"id": number, "scale": 1.0 if name == route.adapter else 0.0}
        for number, name in enumerate(route.served_adapters)
    ]
    return {"lora": scales, "cache_prompt": False}
