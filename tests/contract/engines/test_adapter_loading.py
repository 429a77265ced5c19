"""The real vLLM is given adapters while it answers, by the container that stands beside it.

What operator and kubelet do is done here by hand: the file that the pod reads, and the status that
the gateway follows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx
import pytest
from engine_models import RANK, adapter
from engine_servers import Server, tell, version
from engine_world import route
from gateway_world import World, gateway_world
from version_load import ADAPTED, CHAT, body, first_words, load, told_apart

from nexus_api.adapter_loading import REPORT_PATH, LoadedAdapters
from nexus_api.servingmodel import ServedAdapter

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.parametrize("server", ["vllm"], indirect=True),
]


def folder(server: Server) -> Path:
    return server.log.parent


def report(server: Server) -> LoadedAdapters:
    """Return what the pod tells the operator."""
    assert server.beside is not None
    with urlopen(f"{server.beside.url}{REPORT_PATH}", timeout=5) as answer:
        return LoadedAdapters.model_validate_json(answer.read())


def ready(server: Server) -> bool:
    """Tell what the kubelet would find: both containers are ready."""
    assert server.beside is not None
    return server.ready() and server.beside.ready()


def loaded(server: Server, *versions: ServedAdapter) -> bool:
    return set(report(server).loaded) == {one.served_as for one in versions}


async def served(world: World, *versions: ServedAdapter) -> None:
    """Have the gateway hear of a status that names these versions."""
    manifest = world.control.objects["servingmodels"]["default", "assistant"]
    manifest["status"]["adapters"] = [one.manifest() for one in versions]
    world.control.put("servingmodels", manifest)

    def heard() -> bool:
        found = world.services.routes.model("default", ADAPTED)
        return found is not None and found.served_as == versions[0].served_as

    await world.until(heard)


@asynccontextmanager
async def restored(server: Server, world: World) -> AsyncIterator[None]:
    """Leave the server to the tests that follow as it was found."""
    try:
        yield
    finally:
        tell(folder(server), served=server.adapters)
        await world.until(lambda: loaded(server, *server.adapters) and ready(server))


async def test_a_new_version_is_loaded_without_a_failed_request(
    server: Server, tmp_path: Path
) -> None:
    (old,) = server.adapters
    new = version(adapter(tmp_path / "new", seed=11))
    async with gateway_world(tmp_path) as world, restored(server, world):
        world.http.timeout = 120
        await route(world, server, "assistant")
        before = await first_words(server, str(old.served_as))
        tell(folder(server), served=[old], released=[new])
        await world.until(lambda: loaded(server, old, new))
        asked, before_words, after_words = told_apart(
            before, await first_words(server, str(new.served_as))
        )
        tell(folder(server), served=[old])
        await world.until(lambda: loaded(server, old))
        async with load(world, asked) as seen:
            await world.until(lambda: min(seen.asked) > 10 and seen.streams > 0)
            tell(folder(server), served=[old], released=[new])
            began = time.monotonic()
            await world.until(lambda: loaded(server, old, new))
            loading = time.monotonic() - began
            unmoved = len(seen.adapted)
            await served(world, new)
            tell(folder(server), served=[new])
            await world.until(lambda: loaded(server, new))  # the old one has gone, under load
            streams = seen.streams
            await world.until(lambda: seen.streams > streams + 1)  # those of the old one are over
            here = len(seen.adapted)
            await world.until(lambda: len(seen.adapted) > here + 10)
        print(  # noqa: T201 - a figure
            f"loaded in {loading:.1f} s under load: {sum(seen.asked)} requests and {seen.streams} "
            f"streams, {len(seen.failed)} failed"
        )
        assert seen.failed == []
        assert set(seen.adapted[:unmoved]) <= before_words, "nobody asked for the new one yet"
        assert set(seen.adapted) <= before_words | after_words
        assert set(seen.adapted[here:]) <= after_words
        # The same weights under another name answer as before: back to it is a load, too.
        tell(folder(server), served=[new], released=[old])
        await world.until(lambda: loaded(server, old, new))
        assert set((await first_words(server, str(old.served_as)))[asked]) & before_words


async def test_a_version_that_vllm_cannot_take_is_told_and_answers_go_on(
    server: Server, tmp_path: Path
) -> None:
    (old,) = server.adapters
    wide = adapter(tmp_path / "wide", seed=13)
    config = wide / "adapter_config.json"
    config.write_text(config.read_text().replace(f'"r": {RANK}', f'"r": {16 * RANK}'))
    refused = version(wide)
    async with gateway_world(tmp_path) as world, restored(server, world):
        world.http.timeout = 120
        await route(world, server, "assistant")
        tell(folder(server), served=[old], released=[refused])
        await world.until(lambda: str(refused.served_as) in report(server).refused)
        assert "rank" in report(server).refused[str(refused.served_as)].lower()
        assert ready(server)
        answer = await world.http.post(CHAT, json=body(ADAPTED, "Say hello."))
        assert answer.status_code == httpx.codes.OK, answer.text


async def test_a_server_that_was_killed_has_them_again_before_the_pod_is_ready(
    server: Server, tmp_path: Path
) -> None:
    (old,) = server.adapters
    beside, server.beside = server.beside, None
    assert beside is not None
    try:
        await asyncio.to_thread(server.kill)  # the server alone, as for want of memory
        async with gateway_world(tmp_path) as world:
            world.http.timeout = 120
            await route(world, server, "assistant")
            await world.until(lambda: not beside.ready())
            starting = asyncio.create_task(asyncio.to_thread(server.start))
            seen: list[tuple[bool, set[str]]] = []
            while not (starting.done() and beside.ready()):
                if starting.done():
                    await starting  # it did not start
                if await asyncio.to_thread(beside.ready):
                    seen.append((True, await names(server)))
                await asyncio.sleep(0.05)
            await starting
            assert all(str(old.served_as) in found for _, found in seen)
            assert str(old.served_as) in await names(server)
            answer = await world.http.post(CHAT, json=body(ADAPTED, "Say hello."))
            assert answer.status_code == httpx.codes.OK, answer.text
    finally:
        server.beside = beside


async def names(server: Server) -> set[str]:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        cards: list[dict[str, Any]] = (await http.get("/v1/models")).json()["data"]
    return {str(card["id"]) for card in cards}


async def test_the_loader_ends_when_it_is_told_and_finds_everything_again(server: Server) -> None:
    beside = server.beside
    assert beside is not None
    beside.tell_to_end()
    assert await asyncio.to_thread(beside.ended, 60) == 0
    await asyncio.to_thread(beside.start)
    assert loaded(server, *server.adapters)
