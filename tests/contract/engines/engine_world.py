"""A gateway before a real engine, and the engine's server from its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_models import CONTEXT, adapter, smollm2
from engine_servers import ADAPTERS, BASE, Server, llamacpp, triton, vllm
from engine_venvs import EngineMissing, engine_venv
from gateway_scripted import model_manifest
from gateway_world import World
from needs import in_ci, lacking

ALSO = {"triton": ["plain", "chatml", "templated"]}


@dataclass
class Engine:
    """A gateway before one engine; the model is `assistant`, `ghost` the engine does not know."""

    name: str
    server: Server
    world: World


def make(engine: str, folder: Path) -> Server:
    """Return an engine's server, not started."""
    if engine == "triton":
        return triton(folder, _venv("triton"))
    if engine == "vllm":
        venv = _venv("vllm")
        return vllm(folder, venv, smollm2(venv), adapter(folder / "adapter"))
    return llamacpp(folder)


async def route(world: World, server: Server, *names: str) -> None:
    """Have the gateway know models of a server."""
    runtime = {"engine": server.engine, "contextTokens": CONTEXT}
    for name in names:
        model: dict[str, Any] = {"uri": BASE}
        if server.engine == "vllm" and name == "assistant":
            model["adapters"] = ADAPTERS
        manifest = model_manifest(name, server.url, model=model, runtime=runtime)
        world.control.put("servingmodels", manifest)
    await world.until(lambda: {n for _, n in world.services.routes.models} >= set(names))


def _venv(name: str) -> Path:
    """Return an engine's environment; it takes so long to make that only CI makes it."""
    try:
        return engine_venv(name, install=in_ci())
    except EngineMissing as error:
        lacking(error)
