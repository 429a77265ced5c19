"""What is sent to Triton, and what comes of its failures, large texts and crowds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from gateway_scripted import model_manifest
from gateway_world import World
from scripted_triton import Pieces, ScriptedTriton, piece, refusal, scripted_triton

from nexus_gateway.upstream.pool import Target

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {
    "model": "assistant", "messages": [{"role": "user", "content": "Hello?"}],
}  # fmt: skip
MODEL = {
    "uri": "hf://acme/model",
    "adapters": [{"name": name, "uri": f"hf://acme/{name}"} for name in ("legal", "terse")],
}


@pytest.fixture
async def triton(world: World) -> AsyncIterator[ScriptedTriton]:
    """A gateway's model `assistant`, whose adapter `legal` is served and `terse` not yet."""
    async with scripted_triton() as server:
        await served(world, server)
        yield server


async def served(world: World, server: ScriptedTriton) -> None:
    manifest = model_manifest("assistant", server.url, model=MODEL, runtime={"engine": "triton"})
    loaded = {"name": "legal", "uri": "hf://acme/legal", "source": "hf://acme/legal"}
    manifest["status"]["adapters"] = [loaded]
    world.control.put("servingmodels", manifest)
    await world.until(lambda: world.services.routes.model("default", "assistant") is not None)


async def ask(world: World, **body: Any) -> Any:
    return await world.http.post(CHAT, json={**HELLO, **body})


def connected(world: World) -> bool:
    """Tell whether the gateway takes a connection that it keeps for one that is still there."""
    servers = world.services.engines._triton
    assert servers is not None
    kept = [client for idle in servers.channels._idle.values() for _, client in idle]
    ready = grpc.ChannelConnectivity.READY
    return any(client._channel.get_state() is ready for client in kept)


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def error_of(response: Any) -> tuple[int, str | None]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("stream", [False, True])
async def test_adapter_goes_along_by_its_name(
    world: World, triton: ScriptedTriton, *, stream: bool
) -> None:
    assert (await ask(world, model="assistant:legal", stream=stream)).status_code == 200
    assert (await ask(world, stream=stream)).status_code == 200
    adapted, plain = (json.loads(triton.inputs(n)["sampling_parameters"]) for n in (0, 1))
    assert adapted == {**plain, "lora_name": "legal"}
    assert [request.model_name for request in triton.requests] == ["assistant"] * 2


async def test_adapter_that_is_not_served_yet_is_503_and_one_of_nobody_404(
    world: World, triton: ScriptedTriton
) -> None:
    assert error_of(await ask(world, model="assistant:nobody")) == (404, "model_not_found")
    assert (await ask(world, model="assistant:terse")).status_code == 503
    assert (await world.http.get("/v1/models/assistant:terse")).json()["ready"] is False
    assert triton.requests == []
    assert text_of(await ask(world)) == "Hello"


@pytest.mark.parametrize(
    "field", ["lora_name", "lora", "logit_bias", "prompt_logprobs", "structured_outputs"]
)
async def test_field_that_is_not_passed_on_is_refused_by_name(
    world: World, triton: ScriptedTriton, field: str
) -> None:
    response = await ask(world, **{field: "legal"})
    assert error_of(response) == (400, "not_offered")
    assert response.json()["error"]["param"] == field
    assert triton.requests == []


@pytest.mark.parametrize(
    "message",
    [
        "LoRA legal is not supported, we currently support []",
        "LoRA feature is not enabled.",
        "Stub process 'assistant_0_0' is not healthy.",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_pod_without_the_adapter_or_its_backend_is_not_ready(
    world: World, triton: ScriptedTriton, message: str, *, stream: bool
) -> None:
    async def refuse(_request: Any, _context: Any) -> Pieces:
        yield refusal(message)

    triton.generate = refuse
    response = await ask(world, model="assistant:legal", stream=stream)
    assert error_of(response) == (503, "model_not_ready")
    assert "assistant:legal" in response.json()["error"]["message"]


@pytest.mark.parametrize("header", ["traceparent", "x-request-id", "baggage"])
async def test_odd_headers_break_nothing(world: World, triton: ScriptedTriton, header: str) -> None:
    headers = {header: "gr\u00fc\u00dfe".encode("latin-1")}
    response = await world.http.post(CHAT, json=HELLO, headers=headers)
    assert text_of(response) == "Hello"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.CANCELLED, 503),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.INTERNAL, 503),
        (grpc.StatusCode.UNKNOWN, 503),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.UNIMPLEMENTED, 502),
    ],
)
async def test_failures_before_the_answer(
    world: World, triton: ScriptedTriton, code: grpc.StatusCode, status: int
) -> None:
    async def fail(_request: Any, context: Any) -> Pieces:
        await context.abort(code, "as scripted")
        yield

    async def fail_at_once(context: Any) -> None:
        await context.abort(code, "as scripted")

    triton.configure = fail_at_once
    assert (await ask(world)).status_code == status
    triton.configure = None
    triton.generate = fail
    for stream in (False, True):
        assert (await ask(world, stream=stream)).status_code == status


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
async def test_failure_amid_the_answer(
    world: World, triton: ScriptedTriton, code: grpc.StatusCode
) -> None:
    async def fail(_request: Any, context: Any) -> Pieces:
        yield piece(b"Hel")
        await context.abort(code, "as scripted")

    triton.generate = fail
    response = await ask(world, stream=True)
    events = [event for event in response.text.split("\n\n") if event]
    assert json.loads(events[-1][6:])["error"]["code"] == "stream_interrupted"
    assert error_of(await ask(world)) == (502, "stream_interrupted")


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_answer_that_the_backend_gave_up_is_none(
    world: World, triton: ScriptedTriton, reason: str
) -> None:
    async def give_up(_request: Any, _context: Any) -> Pieces:
        yield piece(b"Hel")
        yield piece(b"", final=True, reason=reason)

    triton.generate = give_up
    assert (await ask(world)).status_code == 503
    response = await ask(world, stream=True)
    events = [event for event in response.text.split("\n\n") if event]
    assert json.loads(events[-1][6:])["error"]["code"] == "stream_interrupted"


@pytest.mark.parametrize("stream", [False, True])
async def test_letter_that_comes_in_pieces_is_put_together(
    world: World, triton: ScriptedTriton, *, stream: bool
) -> None:
    async def spell(_request: Any, _context: Any) -> Pieces:
        for byte in "für 10 €".encode():
            yield piece(bytes([byte]))
        yield piece(b"\xe2\x82", final=True)

    triton.generate = spell
    response = await ask(world, stream=stream)
    if not stream:
        assert text_of(response) == "für 10 €\ufffd"
        return
    events = [e.removeprefix("data: ") for e in response.text.split("\n\n") if e]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "für 10 €\ufffd"


async def test_each_connection_is_spoken_to_by_its_own_template(
    world: World, triton: ScriptedTriton
) -> None:
    """While one revision takes the place of another, a Service leads to either."""
    await ask(world)
    async with scripted_triton() as fresh:
        fresh.parameters = {"chat_template": "{{ messages[0].content }}"}
        await served(world, fresh)
        routes = world.services.routes.models
        target = Target.of(fresh.url)
        await world.until(lambda: routes["default", "assistant"].target == target)
        await ask(world)
        assert fresh.inputs()["text_input"] == b"Hello?"
    assert triton.inputs()["text_input"].startswith(b"<|im_start|>")


async def test_server_of_another_revision_at_the_same_address_is_read_anew(world: World) -> None:
    async with scripted_triton() as first:
        await served(world, first)
        assert text_of(await ask(world)) == "Hello"
        port = int(first.url.rpartition(":")[2])
    await world.until(lambda: not connected(world))  # gRPC hears of it a moment later
    async with scripted_triton(port) as second:
        second.parameters = {"chat_template": "{{ messages[0].content }}"}
        assert text_of(await ask(world)) == "Hello"
        assert second.inputs()["text_input"] == b"Hello?"


async def test_client_that_leaves_before_the_first_word_stops_the_work(
    world: World, triton: ScriptedTriton
) -> None:
    begun = asyncio.Event()

    async def ponder(_request: Any, _context: Any) -> Pieces:
        begun.set()
        await asyncio.Event().wait()
        yield

    triton.generate = ponder
    for stream in (False, True):
        begun.clear()
        triton.ended.clear()
        asking = asyncio.create_task(ask(world, stream=stream))
        await asyncio.wait_for(begun.wait(), 20)
        asking.cancel()
        await asyncio.wait_for(triton.ended.wait(), 20)


async def test_prompt_of_megabytes_arrives_whole(world: World, triton: ScriptedTriton) -> None:
    words = "word " * 400_000
    assert text_of(await ask(world, messages=[{"role": "user", "content": words}])) == "Hello"
    assert words.encode() in triton.inputs()["text_input"]


async def test_crowd_is_answered_each_with_its_own(world: World, triton: ScriptedTriton) -> None:
    crowd, together = 60, asyncio.Event()

    async def echo(request: Any, _context: Any) -> Pieces:
        if len(triton.requests) == crowd:
            together.set()
        await together.wait()  # all are under way at the same time
        yield piece(request.raw_input_contents[0][4:], final=True)

    triton.parameters = {"chat_template": "{{ messages[0].content }}"}
    triton.generate = echo
    asked = [
        ask(world, messages=[{"role": "user", "content": f"number {n}"}], stream=bool(n % 2))
        for n in range(crowd)
    ]
    answers = await asyncio.gather(*asked)
    for n, answer in enumerate(answers):
        assert answer.status_code == 200
        assert f"number {n}" in answer.text
