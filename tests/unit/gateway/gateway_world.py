"""A gateway in this process, among scripted neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import uvicorn
from gateway_scripted import (
    Control,
    FakeRetrieval,
    ScriptedServer,
    embed,
    embedder_models,
    index_manifest,
    model_manifest,
    tokenize,
)

from nexus_gateway import answer_log
from nexus_gateway.app import Gateway
from nexus_gateway.knowledge import Opener, Searching
from nexus_gateway.services import Services
from nexus_gateway.settings import Settings
from nexus_knowledge.ledger import Ledger, upgrade


@dataclass
class World:
    """A gateway and all that stands around it."""

    url: str
    services: Services
    http: httpx.AsyncClient
    runtime: ScriptedServer
    embedder: ScriptedServer
    control: Control
    retrieval: FakeRetrieval
    ledger: Ledger
    bucket: Path

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(180):
            while not true():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)

    async def serve_model(self, name: str = "assistant", **options: Any) -> None:
        self.control.put("servingmodels", model_manifest(name, self.runtime.url, **options))
        tenant = options.get("namespace", "default")
        await self.until(lambda: self.services.routes.model(tenant, name) is not None)

    async def serve_index(self, name: str = "handbook", **options: Any) -> None:
        self.control.put("ragindexes", index_manifest(name, **options))
        tenant = options.get("namespace", "default")
        await self.until(lambda: self.services.routes.index(tenant, name) is not None)


@asynccontextmanager
async def gateway_world(
    folder: Path, real_opener: Opener | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Start everything; ends when the gateway has stopped cleanly."""
    (folder / "bucket").mkdir()
    ledger_url = f"sqlite:///{folder}/ledger.db"
    upgrade(ledger_url)
    retrieval, control = FakeRetrieval(), Control()
    runtime = ScriptedServer(replies={"/tokenize": tokenize})
    embedder = ScriptedServer(replies={"/v1/embeddings": embed, "/v1/models": embedder_models})

    def opener(_settings: Settings, _ledger: Ledger) -> tuple[Searching, Callable[[], None]]:
        return retrieval, lambda: None

    # A slow disk decides nothing: who waits for the log waits until it is written.
    patient = patch.object(answer_log, "FLUSH_SECONDS", 180.0)
    async with runtime.running(), embedder.running(), control.server.running():
        made = Settings(
            bucket_url=f"file://{folder}/bucket",
            ledger_url=ledger_url,
            milvus_uri="http://127.0.0.1:9",
            embedder_url=embedder.url,
            control_url=control.server.url,
        )
        services = Services.build(replace(made, **settings), real_opener or opener)
        config = uvicorn.Config(
            Gateway(services), host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="on"
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        ledger = Ledger(ledger_url)
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            world = World(
                url, services, http, runtime, embedder, control, retrieval, ledger,
                folder / "bucket",
            )  # fmt: skip
            await world.until(lambda: services.mirror.synced and services.knowledge.ready)
            try:
                with patient:
                    yield world
            finally:
                ledger.close()
                server.should_exit = True
                await task
