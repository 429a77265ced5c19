"""The fault proxy does what its script says and notes what went through."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fault_proxy import FaultProxy
from fault_proxy.asked import read_request
from fault_proxy.faults import (
    READS,
    WRITES,
    Answer,
    Events,
    Fault,
    Kill,
    KillEach,
    Outage,
    StaleReads,
    Stall,
)
from fault_proxy.proxy import Tap

PODS = "/api/v1/namespaces/default/pods"
ANSWER_SECONDS = 10


class Upstream:
    """An API server that notes what reaches it and tells three events to each watch."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.version = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.reached.append(f"{request.method} {request.rel_url}")
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            for number in range(3):
                await response.write(json.dumps(event(number)).encode() + b"\n")
            return response
        self.version += request.method != "GET"
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}})


def event(number: int) -> dict[str, Any]:
    return {"type": "MODIFIED", "object": {"metadata": {"name": f"pod-{number}"}}}


class World:
    def __init__(self, upstream: Upstream, proxy: FaultProxy, tap: Tap, killed: list[Tap]) -> None:
        self.upstream, self.proxy, self.tap, self.killed = upstream, proxy, tap, killed
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS))

    async def send(self, method: str, path: str = PODS, body: object = None) -> int:
        """Send one request and return the status, 0 when the connection was cut."""
        try:
            async with self.session.request(method, self.tap.url + path, json=body) as response:
                await response.read()
                return response.status
        except aiohttp.ClientError:
            return 0

    async def watch(self) -> list[str]:
        """Return what a watch told; `cut` at the end when it was cut."""
        told = []
        try:
            async with self.session.get(f"{self.tap.url}{PODS}?watch=1") as response:
                async for line in response.content:
                    found = json.loads(line)
                    told.append(found["object"].get("metadata", {}).get("name") or found["type"])
        except aiohttp.ClientError:
            told.append("cut")
        return told


@asynccontextmanager
async def opened(script: Iterable[Fault]) -> AsyncIterator[World]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    killed: list[Tap] = []
    async with FaultProxy(f"http://{host}:{port}", script=script, on_kill=killed.append) as proxy:
        world = World(upstream, proxy, await proxy.open("one"), killed)
        try:
            yield world
        finally:
            await world.session.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("method", "path", "query", "told"),
    [
        ("GET", "/api/v1/namespaces/ns/pods/a", {}, "get pods ns/a"),
        ("GET", "/apis/apps/v1/deployments", {}, "list deployments"),
        ("GET", "/apis/apps/v1/deployments", {"watch": "1"}, "watch deployments"),
        ("POST", "/apis/g/v1/namespaces/ns/things", {}, "create things ns"),
        ("PATCH", "/apis/g/v1/namespaces/ns/things/a/status", {}, "patch things/status ns/a"),
        ("DELETE", "/api/v1/namespaces/ns", {}, "delete namespaces ns"),
        ("DELETE", "/api/v1/namespaces/ns/pods", {}, "deletecollection pods ns"),
        ("GET", "/version", {}, "other"),
    ],
)
def test_requests_are_read(method: str, path: str, query: dict[str, str], told: str) -> None:
    assert str(read_request(method, path, query)) == told


async def test_everything_passes_and_is_noted_in_order() -> None:
    async with opened([]) as world:
        assert await world.send("POST", body={"a": 1}) == 200
        assert await world.send("GET", f"{PODS}?limit=5") == 200
        assert await world.send("PATCH", f"{PODS}/a?dryRun=All", {}) == 200
        assert await world.watch() == ["pod-0", "pod-1", "pod-2"]
        assert world.upstream.reached[1] == f"GET {PODS}?limit=5"
        assert [one.asked.verb for one in world.proxy.record.exchanges] == [
            "create", "list", "patch", "watch",
        ]  # fmt: skip
        (write,) = world.proxy.record.writes()
        assert (write.write, write.status, write.actor) == (1, 200, "one")


@pytest.mark.parametrize(("when", "reached"), [("before", 1), ("after", 2)])
async def test_a_killed_client_says_and_hears_nothing_more(when: Any, reached: int) -> None:
    async with opened([Kill(write=2, when=when)]) as world:
        assert await world.send("POST") == 200
        assert await world.send("POST") == 0
        assert world.killed == [world.tap]
        assert await world.send("GET") == 0
        assert len(world.upstream.reached) == reached
        world.tap = await world.proxy.open("two")
        assert await world.send("POST") == 200


async def test_each_write_is_killed_before_it_then_after_it_then_passes() -> None:
    async with opened([KillEach()]) as world:
        seen = []
        for at in ("2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "2026-01-31T12:00:02Z"):
            status = await world.send("PATCH", f"{PODS}/a", {"at": at})
            seen.append((status, len(world.upstream.reached)))
            world.tap = await world.proxy.open(at)
        assert seen == [(0, 0), (0, 1), (200, 2)]


async def test_errors_come_in_turn_and_may_lie() -> None:
    script = [
        Answer(status=429, match=READS, nth=2, retry_after=3),
        Answer(status=500, match=WRITES, every=2, times=2, carried_out=True),
    ]
    async with opened(script) as world:
        assert [await world.send("GET") for _ in range(3)] == [200, 429, 200]
        assert [await world.send("POST") for _ in range(4)] == [500, 200, 500, 200]
        assert len(world.upstream.reached) == 2 + 4


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Events(change="drop", every=2), ["pod-0", "pod-2"]),
        (Events(change="delay", seconds=0.05), ["pod-0", "pod-1", "pod-2"]),
        (Events(change="hold", seconds=0.05), ["pod-0", "pod-1", "pod-2"]),
        (Events(change="error", every=2), ["pod-0", "ERROR"]),
        (Events(change="cut", every=2), ["pod-0", "cut"]),
    ],
)
async def test_events_are_disturbed(fault: Events, told: list[str]) -> None:
    async with opened([fault]) as world:
        assert await world.watch() == told


async def test_an_outage_cuts_everything_for_its_time() -> None:
    async with opened([Outage(at=2, seconds=0.2)]) as world:
        assert await world.send("GET") == 200
        assert await world.send("GET") == 0
        async with asyncio.timeout(ANSWER_SECONDS):
            while await world.send("GET") == 0:
                pass
        assert world.upstream.reached == [f"GET {PODS}"] * 2


async def test_a_stalled_write_may_be_done_all_the_same() -> None:
    async with opened([Stall(seconds=0.05, match=WRITES, carried_out=True)]) as world:
        assert await world.send("POST") == 0
        assert world.upstream.reached == [f"POST {PODS}"]


async def test_a_stale_read_asks_for_the_version_before() -> None:
    async with opened([StaleReads(behind=1)]) as world:
        await world.send("POST")
        await world.send("POST")
        await world.send("GET", f"{PODS}?limit=5")
        asked = world.upstream.reached[-1]
        assert "resourceVersion=1" in asked
        assert "resourceVersionMatch=Exact" in asked


async def test_paused_faults_wait() -> None:
    async with opened([Answer(status=503, times=9)]) as world:
        world.proxy.script.paused = True
        assert await world.send("GET") == 200
        world.proxy.script.paused = False
        assert await world.send("GET") == 503
        assert world.proxy.script.struck == 1
