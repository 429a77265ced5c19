"""What holds of a model whatever engine runs it: the gateway's clients see no difference."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from engine_metrics import READ
from engine_servers import Server
from engine_world import Engine, route
from gateway_world import gateway_world
from ports import HOST

from nexus_api.metrics_relay import relaying

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {
    "model": "assistant",
    "messages": [{"role": "user", "content": "Tell me a long story about a lighthouse."}],
    "max_tokens": 24,
    "temperature": 0,
}
ENDLESS = {**ASK, "max_tokens": 900, "stream": True, "ignore_eos": True}

pytestmark = pytest.mark.timeout(1500)


def client_of(engine: Engine) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{engine.world.url}/v1", api_key="none", max_retries=0, timeout=240
    )


async def events_of(response: Any) -> list[str]:
    """Return the data of a stream's events."""
    text = (await response.aread()).decode()
    return [event.removeprefix("data: ") for event in text.split("\n\n") if event]


async def until_working(server: Server, *, working: bool) -> None:
    """Wait until a server says that it computes something, or nothing."""
    async with asyncio.timeout(180):
        while await asyncio.to_thread(server.working) != working:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)


async def test_whole_answer(engine: Engine) -> None:
    async with client_of(engine) as client:
        answer = await client.chat.completions.create(**ASK)
    choice, usage = answer.choices[0], answer.usage
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert usage is not None
    assert usage.prompt_tokens >= 8
    assert 0 < usage.completion_tokens <= 24
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_streamed_answer(engine: Engine) -> None:
    async with client_of(engine) as client:
        stream = await client.chat.completions.create(
            **ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert sum(map(bool, texts)) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] in {"stop", "length"}
    assert not any(reasons[:-1])
    assert chunks[-1].usage is not None
    assert 0 < chunks[-1].usage.completion_tokens <= 24
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_board_of_runtimes_reads_what_the_engine_tells(engine: Engine) -> None:
    """On the port that a pod has for it: Triton's own, or one that passes on nothing else."""
    assert (await engine.world.http.post(CHAT, json=ASK)).is_success
    with relaying(metrics_port(engine.server), HOST, 0) as port:
        answer = await asyncio.to_thread(httpx.get, f"http://{HOST}:{port}/metrics", timeout=60)
    assert answer.is_success, answer.text
    names = {line.split("{")[0].split(" ")[0] for line in answer.text.splitlines()}
    assert names >= READ[engine.name]


def metrics_port(server: Server) -> int:
    """Return where a server tells its metrics: where it answers, unless it was told a port."""
    named = [one.partition("=")[2] for one in server.command if one.startswith("--metrics-port=")]
    return int(named[0] if named else urlsplit(server.url).port or 0)


async def test_usage_is_sent_to_those_who_ask_alone(engine: Engine) -> None:
    async with engine.world.http.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
        events = await events_of(response)
    assert events[-1] == "[DONE]"
    assert all(json.loads(event)["choices"] for event in events[:-1])
    tokens = engine.world.services.metrics.tokens
    assert tokens.labels("default", "assistant", "completion")._value.get() > 0


async def test_answer_ends_at_its_length(engine: Engine) -> None:
    async with client_of(engine) as client:
        answer = await client.chat.completions.create(**{**ASK, "max_tokens": 5})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_ends_before_a_stop_text(engine: Engine, *, stream: bool) -> None:
    body = {**ASK, "stop": [" ", "\n\n\n"], "stream": stream}
    async with engine.world.http.stream("POST", CHAT, json=body) as response:
        if stream:
            chunks = [json.loads(event) for event in (await events_of(response))[:-1]]
            choices = [chunk["choices"][0] for chunk in chunks]
            text = "".join(choice["delta"].get("content") or "" for choice in choices)
            reason = choices[-1]["finish_reason"]
        else:
            choice = json.loads(await response.aread())["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
    assert text
    assert " " not in text
    assert reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_completion_of_a_text(engine: Engine, *, stream: bool) -> None:
    async with client_of(engine) as client:
        asked: dict[str, Any] = {"model": "assistant", "prompt": "The capital of France is"}
        asked |= {"max_tokens": 6, "temperature": 0}
        if stream:
            pieces = await client.completions.create(**asked, stream=True)
            text = "".join([p.choices[0].text async for p in pieces if p.choices])
        else:
            answer = await client.completions.create(**asked)
            text = answer.choices[0].text
            assert answer.usage is not None
            assert answer.usage.completion_tokens <= 6
    assert text.strip()


async def test_several_at_a_time(engine: Engine) -> None:
    asked = [engine.world.http.post(CHAT, json=ASK) for _ in range(4)]
    answers = [response.json() for response in await asyncio.gather(*asked)]
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)
    assert len({answer["id"] for answer in answers}) == 4


async def test_prompt_that_is_too_long_is_400(engine: Engine) -> None:
    messages = [{"role": "user", "content": "word " * 3000}]
    for stream in (False, True):
        body = {**ASK, "messages": messages, "stream": stream}
        response = await engine.world.http.post(CHAT, json=body)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["code"] == "context_length_exceeded"


async def test_wrong_parameter_is_400(engine: Engine) -> None:
    response = await engine.world.http.post(CHAT, json={**ASK, "temperature": "hot"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_unknown_model_is_404(engine: Engine) -> None:
    for name in ("nobody", "assistant:nobody"):
        response = await engine.world.http.post(CHAT, json={**ASK, "model": name})
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


async def test_client_that_leaves_stops_the_engine(engine: Engine) -> None:
    async with engine.world.http.stream("POST", CHAT, json=ENDLESS) as response:
        lines = response.aiter_lines()
        for _ in range(4):
            await anext(lines)
        # Its numbers are of the last step that has ended: the first may still be on its way.
        await until_working(engine.server, working=True)
    await until_working(engine.server, working=False)
    assert (await engine.world.http.post(CHAT, json=ASK)).status_code == 200


async def test_engine_that_hangs_ends_with_the_request_timeout(
    tmp_path_factory: pytest.TempPathFactory, server: Server
) -> None:
    folder: Path = tmp_path_factory.mktemp("hanging")
    async with gateway_world(folder, request_timeout=5.0) as world:
        await route(world, server, "assistant")
        async with world.http.stream("POST", CHAT, json=ENDLESS) as response:
            chunks = response.aiter_text()
            await anext(chunks)
            server.send(signal.SIGSTOP)
            try:
                rest = "".join([text async for text in chunks])
                silent = await world.http.post(CHAT, json=ASK)
            finally:
                server.send(signal.SIGCONT)
    assert json.loads(rest.strip().split("\n\n")[-1][6:])["error"]["code"] == "timeout"
    assert "[DONE]" not in rest
    assert silent.status_code == 504


async def test_engine_killed_amid_an_answer(engine: Engine) -> None:
    """The last test: it leaves no server behind for those whose start takes minutes."""
    world, server = engine.world, engine.server
    async with world.http.stream("POST", CHAT, json=ENDLESS) as response:
        chunks = response.aiter_text()
        await anext(chunks)
        server.kill()
        rest = "".join([text async for text in chunks])
    assert json.loads(rest.strip().split("\n\n")[-1][6:])["error"]["code"] == "stream_interrupted"
    assert "[DONE]" not in rest
    away = await world.http.post(CHAT, json=ASK)
    assert away.status_code == 503
    assert int(away.headers["retry-after"]) > 0
    if engine.name == "vllm":
        return
    await asyncio.to_thread(server.start)
    assert (await world.http.post(CHAT, json=ASK)).status_code == 200
