"""The official client, unchanged, against the gateway."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from gateway_scripted import Request, Stream, chunk, completion, hit, send_json
from gateway_world import World

ASK: list[Any] = [{"role": "user", "content": "When is the standby pump tested?"}]
PASSAGE = "The standby pump is tested every Monday for ten minutes."


@pytest.fixture
async def client(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{world.url}/v1", api_key="none", max_retries=0
    ) as made:
        yield made


async def answer_whole(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, completion("It is tested every Monday for ten minutes."))


async def answer_stream(request: Request, writer: asyncio.StreamWriter) -> None:
    stream = Stream(writer)
    await stream.event(chunk({"role": "assistant", "content": ""}))
    for word in ("It is tested ", "every Monday ", "for ten minutes."):
        await stream.delta(word)
    await stream.event(chunk({}, "stop"))
    if request.json()["stream_options"]["include_usage"]:
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        await stream.event({**chunk({}), "choices": [], "usage": usage})
    await stream.raw(b"data: [DONE]\n\n")
    await stream.end()


async def test_models_are_listed_and_retrieved(world: World, client: openai.AsyncOpenAI) -> None:
    await world.serve_model("assistant")
    listed = await client.models.list()
    assert [m.id for m in listed.data] == ["assistant", "mini"]
    assert (await client.models.retrieve("assistant")).id == "assistant"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


async def test_answer_passes_through_with_the_resource_defaults(
    world: World, client: openai.AsyncOpenAI
) -> None:
    await world.serve_model(generation={"maxTokens": 33, "temperature": "0.5"})
    world.runtime.replies["/v1/chat/completions"] = answer_whole
    tools: list[Any] = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    answer = await client.chat.completions.create(
        model="assistant", messages=ASK, stop=["\n\n"], logprobs=True, tools=tools,
        extra_body={"cache_prompt": False},
    )  # fmt: skip
    assert answer.choices[0].message.content == "It is tested every Monday for ten minutes."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 10
    sent = world.runtime.seen("/v1/chat/completions")[0].json()
    assert sent["stop"] == ["\n\n"]
    assert sent["logprobs"] is True
    assert sent["tools"] == tools
    assert sent["cache_prompt"] is False
    assert (sent["max_tokens"], sent["temperature"]) == (33, 0.5)


@pytest.mark.parametrize("wanted", [True, False])
async def test_stream_has_usage_only_on_request(
    world: World, client: openai.AsyncOpenAI, *, wanted: bool
) -> None:
    await world.serve_model()
    world.runtime.replies["/v1/chat/completions"] = answer_stream
    options: Any = {"stream_options": {"include_usage": True}} if wanted else {}
    stream = await client.chat.completions.create(
        model="assistant", messages=ASK, stream=True, **options
    )
    chunks = [c async for c in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "It is tested every Monday for ten minutes."
    assert [bool(c.usage) for c in chunks].count(True) == wanted
    assert world.services.metrics.registry.get_sample_value(
        "nexus_gateway_tokens_total",
        {"tenant": "default", "model": "assistant", "kind": "completion"},
    ) == 3  # fmt: skip


async def test_grounded_stream_carries_citations_on_its_last_chunk(
    world: World, client: openai.AsyncOpenAI
) -> None:
    await world.serve_index()
    await world.serve_model(index="handbook")
    world.retrieval.hits = [hit("Filters are washed in spring.", 1), hit(PASSAGE, 2)]
    world.runtime.replies["/v1/chat/completions"] = answer_stream
    stream = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)
    chunks = [c async for c in stream]
    last = next(c for c in chunks if c.choices and c.choices[0].finish_reason)
    assert last.model_extra is not None
    (citation,) = last.model_extra["citations"]
    assert citation["document"] == "manual-2.pdf"
    assert citation["text"] == PASSAGE
    assert (citation["page"], citation["section"], citation["index"]) == (
        2,
        "Chapter 2",
        "handbook",
    )
    assert citation["url"] == "/v1/indexes/handbook/documents/doc2/content#page=2"
    retrieval = {"mode": "hybrid", "top_k": 5, "collection": "nx_handbook_1"}
    assert last.model_extra["retrieval"] == retrieval
    annotation = last.choices[0].delta.model_extra["annotations"][0]["url_citation"]  # type: ignore[index]
    assert annotation["title"] == "manual-2.pdf, page 2, Chapter 2"
    assert all("citations" not in (c.model_extra or {}) for c in chunks if c is not last)


async def test_grounded_answer_whole_has_message_annotations(
    world: World, client: openai.AsyncOpenAI
) -> None:
    await world.serve_index()
    await world.serve_model(index="handbook")
    world.retrieval.hits = [hit(PASSAGE)]
    world.runtime.replies["/v1/chat/completions"] = answer_whole
    answer = await client.chat.completions.create(
        model="assistant",
        messages=ASK,
        extra_body={"retrieval": {"mode": "dense", "top_k": 3}},
    )
    assert answer.model_extra is not None
    assert len(answer.model_extra["citations"]) == 1
    assert answer.choices[0].message.annotations is not None
    assert answer.choices[0].message.annotations[0].url_citation.start_index == 0
    assert world.retrieval.calls[0]["mode"] == "dense"
    assert world.retrieval.calls[0]["top_k"] == 3
    assert "retrieval" not in world.runtime.seen("/v1/chat/completions")[0].json()


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_relevant_is_said_without_asking_the_model(
    world: World, client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    await world.serve_index()
    await world.serve_model(index="handbook")
    world.retrieval.hits = [hit("Far off.", dense_score=0.1)]
    if stream:
        parts = await client.chat.completions.create(
            model="assistant", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [c async for c in parts]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert chunks[-1].usage is not None
        assert chunks[-2].model_extra is not None
        assert chunks[-2].model_extra["citations"] == []
    else:
        whole = await client.chat.completions.create(model="assistant", messages=ASK)
        text = whole.choices[0].message.content or ""
    assert text.startswith("I found nothing about this")
    assert not world.runtime.seen("/v1/chat/completions")
    await world.services.answers.flush()
    assert [one.revision for one in world.ledger.responses("default")] == [""]  # no model's answer


async def test_embeddings_as_floats_and_base64(world: World, client: openai.AsyncOpenAI) -> None:
    found = await client.embeddings.create(model="mini", input=["a", "b"], encoding_format="float")
    assert [row.embedding for row in found.data] == [[0.5, -0.5], [0.5, -0.5]]

    async def packed(request: Request, writer: asyncio.StreamWriter) -> None:
        assert request.json()["encoding_format"] == "base64"
        data = base64.b64encode(struct.pack("<2f", 0.25, 1.0)).decode()
        row = {"object": "embedding", "index": 0, "embedding": data}
        await send_json(writer, {"object": "list", "data": [row], "model": "mini", "usage": {}})

    world.embedder.replies["/v1/embeddings"] = packed
    assert (await client.embeddings.create(model="mini", input="a")).data[0].embedding == [
        0.25,
        1.0,
    ]
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="other", input="a")


async def test_errors_have_the_types_that_the_client_knows(
    world: World, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="nobody", messages=ASK)
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    await world.serve_index()
    await world.serve_model(index="handbook")
    empty: list[Any] = [{"role": "user", "content": "  "}]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="assistant", messages=empty)
    assert refused.value.code == "empty_question"
    with pytest.raises(openai.BadRequestError) as tfidf:
        await client.chat.completions.create(
            model="assistant", messages=ASK, extra_body={"retrieval": {"mode": "tfidf"}}
        )
    assert tfidf.value.code == "not_offered"
    with pytest.raises(openai.NotFoundError) as responses:
        await client.responses.create(model="assistant", input="hello")
    assert responses.value.code == "not_offered"
    with pytest.raises(openai.NotFoundError) as stores:
        await client.vector_stores.list()
    assert stores.value.code == "not_offered"


async def test_runtime_killed_in_mid_stream_is_a_final_error_event(
    world: World, client: openai.AsyncOpenAI
) -> None:
    async def die(_request: Request, writer: asyncio.StreamWriter) -> None:
        stream = Stream(writer)
        await stream.delta("It is")
        await stream.raw(b'data: {"half an event')
        writer.transport.abort()

    await world.serve_model()
    world.runtime.replies["/v1/chat/completions"] = die
    stream = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)
    parts = aiter(stream)
    assert (await anext(parts)).choices[0].delta.content == "It is"
    with pytest.raises(openai.APIError) as caught:
        await anext(parts)
    assert caught.value.code == "stream_interrupted"
    raw = await world.http.post(
        "/v1/chat/completions", json={"model": "assistant", "messages": ASK, "stream": True}
    )
    assert raw.text.endswith("}\n\n")
    assert "[DONE]" not in raw.text
    assert raw.text.count("\n\n") == 2


async def test_legacy_completions_pass_through(world: World, client: openai.AsyncOpenAI) -> None:
    async def complete(request: Request, writer: asyncio.StreamWriter) -> None:
        choice = {"index": 0, "text": " upon a time", "finish_reason": "length"}
        answer = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
        await send_json(writer, {**answer, "choices": [choice]})

    await world.serve_model()
    world.runtime.replies["/v1/completions"] = complete
    told = await client.completions.create(model="assistant", prompt="Once", echo=False)
    assert told.choices[0].text == " upon a time"
    assert world.runtime.seen("/v1/completions")[0].json()["prompt"] == "Once"
