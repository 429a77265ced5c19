"""Services: a port that stays, in front of pods that come and go."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from ports import free_port, listens
from self_connection import can_be_taken, meeting_themselves

from nexus_local.node.relay import Relay
from nexus_local.node.traffic import Traffic

from .conftest import (
    Site,
    answers,
    deployment,
    eventually,
    get,
    has_port,
    ref,
    running_site,
    service,
    service_port,
    web_container,
)
from .test_deployments import available


async def test_service_reaches_a_ready_pod_and_none_is_an_end_at_once(site: Site) -> None:
    made = await site.cluster.create(service("web"))
    port = service_port(await site.until(ref(made), has_port))
    with pytest.raises(OSError, match=r"closed|reset"):
        await get(port)
    deployed = await site.cluster.apply(deployment("web", web_container()))
    await site.until(ref(deployed), available)
    await eventually(lambda: answers(port))


async def test_service_spreads_over_its_pods(site: Site) -> None:
    made = await site.cluster.create(service("web"))
    deployed = await site.cluster.apply(deployment("web", web_container(), replicas=2))
    port = service_port(await site.until(ref(made), has_port))
    await site.until(ref(deployed), lambda d: available(d, 2))
    pids = [(await get(port))["pid"] for _ in range(6)]
    assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3]


async def test_clients_notice_no_replacement(site: Site) -> None:
    made = await site.cluster.create(service("web"))
    deployed = await site.cluster.apply(deployment("web", web_container("old")))
    port = service_port(await site.until(ref(made), has_port))
    await site.until(ref(deployed), available)
    failures: list[OSError] = []
    seen: set[str] = set()
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            try:
                seen.update((await get(port))["args"])
            except OSError as error:
                failures.append(error)

    asking = asyncio.create_task(ask())
    await site.cluster.apply(deployment("web", web_container("new")))
    await site.until(ref(deployed), available)
    await eventually(lambda: "new" in seen)
    done.set()
    await asking
    assert seen == {"old", "new"}
    assert failures == []


async def test_service_follows_its_selector(site: Site) -> None:
    made = await site.cluster.create(service("web"))
    for name in ("web", "other"):
        deployed = await site.cluster.apply(deployment(name, web_container(name)))
        await site.until(ref(deployed), available)
    port = service_port(await site.until(ref(made), has_port))
    assert (await get(port))["args"] == ["web"]
    await site.cluster.patch(ref(made), {"spec": {"selector": {"app": "other"}}})

    async def moved() -> bool:
        return bool((await get(port))["args"] == ["other"])

    await eventually(moved)


async def test_port_is_kept_across_a_restart(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        made = await site.cluster.create(service("web"))
        port = service_port(await site.until(ref(made), has_port))
    async with running_site(tmp_path) as site:
        await eventually(lambda: listens(port))
        seen = await site.cluster.get(ref(made))
        assert seen is not None
        assert service_port(seen) == port


async def test_asked_port_that_is_taken_is_named_and_used_once_it_is_free(site: Site) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        made = await site.cluster.create(service("web", **{"llmops.nexus/local-port": str(port)}))

        def taken(seen: dict[str, Any]) -> bool:
            conditions = (seen.get("status") or {}).get("conditions") or [{}]
            return bool(conditions[0].get("reason") == "PortTaken")

        seen = await site.until(ref(made), taken)
        assert f"port {port}" in seen["status"]["conditions"][0]["message"]
    seen = await site.until(ref(made), has_port)
    assert service_port(seen) == port
    assert seen["status"]["conditions"][0]["status"] == "True"


async def test_bad_port_annotation_is_named(site: Site) -> None:
    made = await site.cluster.create(service("web", **{"llmops.nexus/local-port": "http"}))

    def refused(seen: dict[str, Any]) -> bool:
        conditions = (seen.get("status") or {}).get("conditions") or [{}]
        return bool(conditions[0].get("status") == "False")

    seen = await site.until(ref(made), refused)
    assert "'http' is no port number" in seen["status"]["conditions"][0]["message"]


async def test_deleted_service_stops_listening(site: Site) -> None:
    made = await site.cluster.create(service("web"))
    port = service_port(await site.until(ref(made), has_port))
    await site.cluster.delete(ref(made))
    await eventually(lambda: not listens(port))


async def test_relay_carries_much_both_ways_and_half_closed_connections() -> None:
    received = bytearray()

    async def swallow_then_answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(1 << 16):
            received.extend(piece)
        writer.write(bytes(reversed(received)))  # only after the client's end was seen
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    target = await asyncio.start_server(swallow_then_answer, "127.0.0.1", 0)
    relay = Relay(lambda: int(target.sockets[0].getsockname()[1]))
    await relay.listen(0)
    assert relay.port
    payload = bytes(range(256)) * 40_000
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(payload)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(-1), 30)
    assert bytes(received) == payload
    assert answer == payload[::-1]
    writer.close()
    await writer.wait_closed()
    await relay.close()
    target.close()
    await target.wait_closed()


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("client_first", [True, False])
async def test_connection_that_both_sides_have_ended_is_gone(*, client_first: bool) -> None:
    """Each would keep two descriptors of the platform for ever, and its pod from being drained."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello ")
        asked = await (reader.read() if client_first else reader.readexactly(2))
        writer.write(asked * 100_000)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    traffic = Traffic()
    relay = Relay(lambda: target, traffic)
    await relay.listen(0)
    assert relay.port is not None
    before = descriptors()
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"ab")
        if client_first:
            writer.write_eof()
        assert await reader.read() == b"hello " + b"ab" * 100_000
        writer.close()
        await writer.wait_closed()
    assert await traffic.quiet([target], 30)
    await eventually(lambda: descriptors() <= before)
    await relay.close()
    server.close()


async def test_relay_that_meets_itself_says_nothing_back() -> None:
    """A client would hear its own words from a target that has ended."""
    target = free_port()
    traffic = Traffic()
    relay = Relay(lambda: target, traffic)
    await relay.listen(0)
    assert relay.port is not None
    with meeting_themselves(target):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"are you there?")
        assert await asyncio.wait_for(reader.read(14), 30) == b""
    writer.close()
    await writer.wait_closed()
    assert await traffic.quiet([target], 30)
    await eventually(lambda: can_be_taken(target))
    await relay.close()


async def test_slow_reader_holds_the_sender_back() -> None:
    sent = 0
    stop = asyncio.Event()

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while not stop.is_set():
                writer.write(bytes(1 << 16))
                await writer.drain()
                sent += 1 << 16
        except ConnectionError:
            pass
        finally:
            writer.close()

    target = await asyncio.start_server(pour, "127.0.0.1", 0)
    relay = Relay(lambda: int(target.sockets[0].getsockname()[1]))
    await relay.listen(0)
    assert relay.port
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.connect(("127.0.0.1", relay.port))
        await eventually(lambda: sent > 0)
        before = -1
        while sent != before:  # until nothing moves any more: no one reads
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 64 << 20
        stop.set()
    await relay.close()
    target.close()
    await target.wait_closed()


async def test_deleted_pod_is_drained_but_not_for_ever(site: Site) -> None:
    made = await site.cluster.create(service("web"))
    deployed = await site.cluster.apply(deployment("web", web_container()))
    port = service_port(await site.until(ref(made), has_port))
    await site.until(ref(deployed), available)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /about HTTP/1.1\r\n\r\n")
        assert b" 200 " in await reader.readline()  # and the connection is kept open
        (pod,) = await site.ready_pods(app="web")
        await site.cluster.delete(ref(deployed))
        await site.until_gone(ref(pod))
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_traffic_counts_by_port() -> None:
    traffic = Traffic()
    assert await traffic.quiet([1, 2], 0)
    for target in (1, 1, 3):
        traffic.begin(target)
    assert not await traffic.quiet([1, 2], 0)
    waiting = asyncio.create_task(traffic.quiet([1, 2], 30))
    for target in (1, 1):
        await asyncio.sleep(0)
        assert not waiting.done()
        traffic.end(target)
    assert await waiting
