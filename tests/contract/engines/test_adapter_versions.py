"""A new revision of vLLM goes live under load: a second server, a switch, the first one's end.

What a cluster does with the pods of two revisions is done here by hand: the new one's command is
the operator's, and a Service leads new connections to it, while those that are open stay where they
are.  The new one has other weights under the adapter's name, by which its answers are known.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from engine_models import adapter, smollm2
from engine_servers import Server, version, vllm
from engine_world import route, venv_of
from gateway_world import gateway_world
from version_load import first_words, load, told_apart

from nexus_gateway.upstream import pool
from nexus_operator.build.vllm import DRAIN_SECONDS, answered

pytestmark = pytest.mark.timeout(2400)
KEPT = 1.0  # seconds


class Service:
    """An address whose new connections go to one server, as those of a Service with one pod."""

    def __init__(self, to: str) -> None:
        self.to = to
        self.url = ""
        self._moved: dict[str, float] = {}
        self._asked: dict[str, set[asyncio.StreamWriter]] = defaultdict(set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        async with await asyncio.start_server(self._connected, "127.0.0.1") as listening:
            port = listening.sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            yield self

    def quiet(self, url: str) -> float:
        """Return for how many seconds nothing has come from a server or gone to it.

        None, while it has said nothing since it was asked: two servers share a small machine, and
        one that is slow is not one that is left alone.
        """
        return 0 if self._asked[url] else time.monotonic() - self._moved.get(url, 0)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        to = self.to
        address = urlsplit(to)
        far, forth = await asyncio.open_connection(address.hostname, address.port)

        def asked() -> None:
            self._moved[to] = time.monotonic()
            self._asked[to].add(forth)

        def said() -> None:
            self._moved[to] = time.monotonic()
            self._asked[to].discard(forth)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pour(near, forth, asked))
            tasks.create_task(_pour(far, back, said))
        self._asked[to].discard(forth)


async def _pour(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, note: Callable[[], None]
) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            note()
            target.write(data)
            await target.drain()
    with suppress(ConnectionError):
        target.close()


def told_to_end(server: Server) -> None:
    """Do to a server what a kubelet does: the end of the hook, then the signal."""
    hook = ["sh", "-c", answered(urlsplit(server.url).port or 0)]
    subprocess.run(hook, check=True, timeout=120)
    assert not server.working()
    server.end(60)


@contextmanager
def connections_kept_for(seconds: float) -> Iterator[None]:
    """Have the gateway keep connections for so long, so that no test waits for a minute."""
    init = pool.Pool.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            init, "__kwdefaults__", {**(init.__kwdefaults__ or {}), "longest_use": seconds}
        )
        patch.setattr(pool, "IDLE_SECONDS", seconds)
        yield


@pytest.mark.parametrize("server", ["vllm"], indirect=True)
async def test_a_new_revision_goes_live_without_a_failed_request(
    server: Server, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """The server of the session is the new one from then on."""
    assert DRAIN_SECONDS > pool.LONGEST_USE + pool.IDLE_SECONDS, "the old pod is told too early"
    venv = venv_of("vllm")
    folder = tmp_path_factory.mktemp("vllm-2")
    (served,) = server.adapters
    other = version(adapter(folder / "released", seed=11))
    other = other.model_copy(update={"served_as": served.served_as})
    fresh = vllm(folder, venv, smollm2(venv), other)
    await asyncio.to_thread(fresh.start)
    try:
        old, new = [await first_words(one, str(served.served_as)) for one in (server, fresh)]
        asked, before, after = told_apart(old, new)
        with connections_kept_for(KEPT):
            async with gateway_world(tmp_path) as world, Service(server.url).running() as service:
                world.http.timeout = 120
                await route(world, replace(server, url=service.url), "assistant")
                async with load(world, asked) as seen:
                    await world.until(lambda: min(seen.asked) > 10 and seen.streams > 0)
                    assert set(seen.adapted) <= before
                    service.to = fresh.url
                    # What preStop sleeps for: no connection that is kept leads there any more.
                    await world.until(lambda: service.quiet(server.url) > 5 * KEPT)
                    await asyncio.to_thread(told_to_end, server)
                    here = len(seen.adapted)
                    await world.until(lambda: len(seen.adapted) > here + 10)
    except BaseException:
        fresh.kill()
        server.kill()
        await asyncio.to_thread(server.start)  # the tests after this one need it
        raise
    server.__dict__.update(fresh.__dict__)
    assert seen.failed == []
    assert set(seen.adapted) <= before | after
    assert set(seen.adapted[here:]) <= after
    assert set(seen.adapted[:here]) & after, "the switch came with the end of the old server alone"
