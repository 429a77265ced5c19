"""`nexus-gateway` processes behind a Service: one comes, one goes, and no request fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from children import Child
from gateway_account import put_model
from gateway_scripted import Request, ScriptedServer, Stream, chunk, completion, send_json
from ports import free_port
from relay import Relay, relay

from nexus_knowledge.ledger import upgrade

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "Hello"}]}
DRAIN_SECONDS = 6.0
LAG_SECONDS = 0.5  # from /readyz to the last kube-proxy

pytestmark = pytest.mark.apiserver


@dataclass
class Runtime(ScriptedServer):
    """A runtime that answers at once, or streams until it is told to end."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    server = Runtime()

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if not request.json().get("stream"):
            await send_json(writer, completion("Hello."))
            return
        stream = Stream(writer)
        while not server.ended.is_set():
            await stream.delta("again ")
            await asyncio.sleep(0.02)
        await stream.event(chunk({}, "stop"))
        await stream.raw(b"data: [DONE]\n\n")
        await stream.end()

    server.replies[CHAT] = reply
    async with server.running():
        yield server


@pytest.fixture
def start(pod: Any, tmp_path: Path) -> Iterator[Any]:
    """Start gateways as a pod's container does, at a port of each one's own."""
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(ledger)
    (tmp_path / "bucket").mkdir()
    children: list[Child] = []

    def begin(**given: str) -> tuple[Child, int]:
        port = free_port()
        environment = {
            **os.environ,
            "NEXUS_PORT": str(port),
            "NEXUS_BUCKET_URL": f"file://{tmp_path}/bucket",
            "NEXUS_LEDGER_URL": ledger,
            "NEXUS_MILVUS_URI": "http://127.0.0.1:9",
            "NEXUS_EMBEDDER_URL": "http://127.0.0.1:9",
            "NEXUS_CONTROL_URL": pod.api.url,
            "NEXUS_CONTROL_TOKEN_FILE": str(pod.token_file),
            "NEXUS_CONTROL_CA_FILE": str(pod.ca_file),
            "NEXUS_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "NEXUS_GRACE_SECONDS": "30",
            **given,
        }
        child = Child(
            [str(Path(sys.executable).parent / "nexus-gateway")],
            log=tmp_path / f"gateway-{port}.log",
            ready=lambda: is_ready(port),
            environment=environment,
        )
        children.append(child)
        return child, port

    yield begin
    for child in children:
        child.kill()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(180):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


def is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=20)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


@asynccontextmanager
async def endpoints(service: Relay, ports: list[int]) -> AsyncIterator[None]:
    """Send new connections to those that say they are ready, a moment after they say it."""

    async def follow() -> None:
        while True:
            ready = [port for port in ports if await asyncio.to_thread(is_ready, port)]
            await asyncio.sleep(LAG_SECONDS)
            service.backends = ready

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def load(url: str, stop: asyncio.Event) -> list[str]:
    """Ask again and again on kept connections; return what went wrong, "" for each answer."""
    seen: list[str] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while not stop.is_set():
            try:
                answer = await client.post(CHAT, json=ASK)
                seen.append("" if answer.status_code == 200 else answer.text)
            except httpx.HTTPError as error:
                seen.append(repr(error))
            await asyncio.sleep(0.005)
    return seen


async def test_upgrade_under_load_fails_no_request(runtime: Runtime, start: Any, pod: Any) -> None:
    put_model(pod.api, "assistant", runtime.url)
    old, old_port = start()
    new, new_port = start()
    await asyncio.to_thread(old.start)
    ports = [old_port]
    async with relay(old_port) as service, endpoints(service, ports):
        url, stop = f"http://127.0.0.1:{service.port}", asyncio.Event()
        clients = [asyncio.create_task(load(url, stop)) for _ in range(4)]
        streaming = asyncio.create_task(stream_of(url))
        await until(lambda: bool(runtime.seen(CHAT)))
        await asyncio.to_thread(new.start)
        ports.append(new_port)
        await until(lambda: new_port in service.backends)
        assert old.process is not None
        old.process.send_signal(signal.SIGTERM)
        await until(lambda: not is_ready(old_port))
        assert old.process.poll() is None
        await until(lambda: not takes_connections(old_port))
        assert not streaming.done()
        runtime.ended.set()
        events = await asyncio.wait_for(streaming, 60)
        await asyncio.to_thread(old.process.wait, 60)
        stop.set()
        seen = list(itertools.chain.from_iterable(await asyncio.gather(*clients)))
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "stop"
    assert len(seen) > 100
    assert [problem for problem in seen if problem] == []


async def test_second_signal_ends_it_without_waiting(start: Any) -> None:
    gateway, port = start(NEXUS_DRAIN_SECONDS="600")
    await asyncio.to_thread(gateway.start)
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    await until(lambda: not is_ready(port))
    gateway.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(gateway.process.wait, 60)


async def test_answer_that_outlasts_the_grace_ends_with_an_error(
    runtime: Runtime, start: Any, pod: Any
) -> None:
    put_model(pod.api, "assistant", runtime.url)
    gateway, port = start(NEXUS_DRAIN_SECONDS="0", NEXUS_GRACE_SECONDS="1")
    await asyncio.to_thread(gateway.start)
    streaming = asyncio.create_task(stream_of(f"http://127.0.0.1:{port}"))
    await until(lambda: bool(runtime.seen(CHAT)))
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    events = await asyncio.wait_for(streaming, 60)
    assert json.loads(events[-1])["error"]["code"] == "stream_interrupted"
    assert "[DONE]" not in events
    await asyncio.to_thread(gateway.process.wait, 60)


async def stream_of(url: str) -> list[str]:
    """Return the data of the events of one streamed answer."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        response = await client.post(CHAT, json={**ASK, "stream": True})
    return [event.removeprefix("data: ") for event in response.text.split("\n\n") if event]


def takes_connections(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2)
    except httpx.ConnectError:
        return False
    except httpx.TransportError:
        return True  # it took the connection, though it had no time for the question
    return True
