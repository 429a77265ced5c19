"""What a program beside a Triton server asks, before a Triton that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import orjson
import pytest
from ports import free_port
from scripted_triton import Pieces, ScriptedTriton, hello, refusal, scripted_triton

from nexus_gateway.bridge import cli, opening
from nexus_gateway.bridge.app import Bridge
from nexus_gateway.bridge.opening import Lost, Refused, opened
from nexus_gateway.engines.triton.upstream import Triton, TritonUpstream
from nexus_gateway.upstream.pool import Target

ASK: dict[str, Any] = {"model": "m:new", "messages": [{"role": "user", "content": "Hi"}]}


@asynccontextmanager
async def bridge() -> AsyncIterator[tuple[ScriptedTriton, Triton, dict[str, TritonUpstream]]]:
    """Give a Triton, and the names of a model with the adapters `new` and `old` there."""
    servers = Triton()
    async with scripted_triton() as server:
        origin = Target.of(server.url).origin
        made = [servers.upstream(origin, "m", adapter) for adapter in ("", "new", "old")]
        try:
            yield server, servers, {one.name: one for one in made}
        finally:
            await servers.close()


def client(servers: Triton, served: dict[str, TritonUpstream]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Bridge(servers, served))
    return httpx.AsyncClient(transport=transport, base_url="http://bridge")


def adapters(server: ScriptedTriton) -> list[str]:
    """Return the adapters that were asked for, in order."""
    asked = [server.inputs(number)["sampling_parameters"] for number in range(len(server.requests))]
    return [orjson.loads(one).get("lora_name", "") for one in asked]


async def test_each_name_has_answered_before_anybody_is_told_of_it() -> None:
    async with bridge() as (server, servers, served):
        server.loads = 2
        await opened(servers, served.values())
        assert adapters(server) == ["", "new", "old"]


async def test_requests_go_the_way_of_the_gateway() -> None:
    async with bridge() as (server, servers, served), client(servers, served) as http:
        server.parameters = {"chat_template": "{{ messages[0].content }}!"}
        told = (await http.get("/v1/models")).json()["data"]
        assert [one["id"] for one in told] == ["m", "m:new", "m:old"]
        answer = await http.post("/v1/chat/completions", json={**ASK, "seed": 3})
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"
        assert server.inputs()["text_input"] == b"Hi!"
        assert orjson.loads(server.inputs()["sampling_parameters"]) == {
            "seed": 3,
            "lora_name": "new",
        }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "m:none"}, 404),
        ({"stream": True}, 400),
        ({"messages": []}, 400),
        ({"temperature": -1}, 400),
    ],
)
async def test_what_is_not_offered_is_refused(body: dict[str, Any], status: int) -> None:
    async with bridge() as (server, servers, served), client(servers, served) as http:
        answer = await http.post("/v1/chat/completions", json={**ASK, **body})
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]
        assert server.requests == []
        assert (await http.get("/v1/elsewhere")).status_code == 404


async def test_a_prompt_that_does_not_fit_has_the_gateways_code() -> None:
    async def too_long(_request: Any, _context: Any) -> Pieces:
        yield refusal("This model's maximum context length is 8 tokens")

    async with bridge() as (server, servers, served), client(servers, served) as http:
        server.generate = too_long
        answer = await http.post("/v1/chat/completions", json=ASK)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_health_is_the_servers() -> None:
    async with bridge() as (server, servers, served), client(servers, served) as http:
        assert (await http.get("/health")).status_code == 200
        server.loads = 1
        assert (await http.get("/health")).status_code == 503


async def test_what_the_backend_refuses_is_refused_at_the_start() -> None:
    async def broken(request: Any, context: Any) -> Pieces:
        if b"old" in b"".join(request.raw_input_contents):
            yield refusal("Error generating stream: no whole file")
            return
        async for one in hello(request, context):
            yield one

    async with bridge() as (server, servers, served):
        server.generate = broken
        with pytest.raises(Refused, match=r"m:old answers nobody.*no whole file"):
            await opened(servers, served.values())


async def test_a_server_that_goes_away_meanwhile_is_lost() -> None:
    async def gone(_request: Any, context: Any) -> Pieces:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "Stub process 'm_0' is not healthy.")
        yield

    async with bridge() as (server, servers, served):
        server.generate = gone
        with pytest.raises(Lost, match="not healthy"):
            await opened(servers, served.values())


async def test_a_model_that_is_never_ready_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LOAD_SECONDS", 0.2)
    async with bridge() as (server, servers, served):
        server.loads = 10_000
        with pytest.raises(Lost, match="not ready"):
            await opened(servers, served.values())


async def test_the_program_says_why_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(_request: Any, _context: Any) -> Pieces:
        yield refusal("Error generating stream: no whole file")

    async with scripted_triton() as server:
        server.generate = broken
        told = ["--url", server.url, "--model", "m", "--port", str(free_port())]
        assert await asyncio.to_thread(cli.main, told) == cli.EXIT_REFUSED
    assert "nexus-gateway-triton: m answers nobody" in capsys.readouterr().err
