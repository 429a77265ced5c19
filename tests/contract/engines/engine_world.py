"""A gateway before a real engine, and the engine's server from its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_models import CONTEXT, adapter, smollm2
from engine_servers import BASE, Server, llamacpp, version, vllm
from engine_venvs import EngineMissing, engine_venv
from gateway_scripted import model_manifest
from gateway_world import World
from needs import in_ci, lacking
from triton_server import ADAPTERS as TRITON_ADAPTERS
from triton_server import triton

ALSO = {"triton": ["plain", "chatml", "templated"]}

LOADED = {"triton": [{**one, "source": one["uri"]} for one in TRITON_ADAPTERS]}


@dataclass
class Engine:
    """A gateway before one engine; the model is `assistant`, `ghost` the engine does not know."""

    name: str
    server: Server
    world: World


def make(engine: str, folder: Path) -> Server:
    """Return an engine's server, not started."""
    if engine == "triton":
        return triton(folder, venv_of("triton"))
    if engine == "vllm":
        venv = venv_of("vllm")
        return vllm(folder, venv, smollm2(venv), version(adapter(folder / "adapter")))
    return llamacpp(folder)


async def route(world: World, server: Server, *names: str) -> None:
    """Have the gateway know models of a server."""
    runtime = {"engine": server.engine, "contextTokens": CONTEXT}
    for name in names:
        served = [one.manifest() for one in server.adapters] or LOADED.get(server.engine, [])
        if name != "assistant":
            served = []
        model: dict[str, Any] = {
            "uri": BASE,
            "adapters": [{"name": one["name"], "uri": one["uri"]} for one in served],
        }
        manifest = model_manifest(name, server.url, model=model, runtime=runtime)
        manifest["status"]["adapters"] = served
        world.control.put("servingmodels", manifest)
    await world.until(lambda: {n for _, n in world.services.routes.models} >= set(names))


def venv_of(name: str) -> Path:
    """Return an engine's environment; it takes so long to make that only CI makes it."""
    try:
        return engine_venv(name, install=in_ci())
    except EngineMissing as error:
        lacking(error)
