"""Documents in, cited answers out, with every neighbour but the control API real."""

from __future__ import annotations

import logging
import time
from typing import Any

import openai
import pytest
from gateway_world import World

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.chunks import Chunk
from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.ids import chunk_id
from nexus_knowledge.ledger import Listed, Ready
from nexus_knowledge.objects import open_store
from nexus_knowledge.vectors import open_index

LOG = logging.getLogger(__name__)
DOCUMENTS = {
    "pumps.md": (
        "The standby pump is test-run for fifteen minutes every Monday at 06:00. "
        "The operator listens for cavitation and reads the bearing temperature."
    ),
    "tank.md": "The clear water tank holds 3,200 cubic metres, enough for eight hours.",
    "tours.md": "School tours take place on Wednesdays from 09:30 to 11:00.",
    "alarms.md": "A red alarm is answered within two minutes, a yellow one within fifteen.",
}
QUESTION = "When is the standby pump test-run?"
PATH = "/v1/indexes/handbook/documents"


def publish(world: World) -> None:
    """Do what a sync does, one chunk a document."""
    settings, spec = world.services.settings, RagIndexSpec()
    tenant, name, uid = "default", "handbook", "uid-1"
    store, ledger = open_store(settings.bucket_url), world.ledger
    token = ledger.begin_listing(tenant, name, uid)
    listing = [
        Listed(o.key.removeprefix("default/handbook/"), o.key, o.etag, o.size, o.modified)
        for o in store.list("default/handbook/")
    ]
    plan = ledger.plan_sync(
        tenant, name, uid, fingerprint=spec.fingerprint(), listing=listing, token=token
    )
    vectors, chunks = open_index(settings.milvus_uri), []
    for item in plan.work:
        with store.open(item.key) as data:
            text = data.read().decode()
        named = chunk_id(tenant, name, item.document_id, item.generation, 0)
        chunks.append(
            Chunk(
                named, item.document_id, item.path, item.generation, 0, text, 0, len(text),
                section=item.path.removesuffix(".md"),
            )
        )  # fmt: skip
    with EmbedderClient(settings.embedder_url) as embedder:
        if chunks:
            embedded = embedder.embed([c.content for c in chunks])
            vectors.ensure_collection(plan.collection, embedded.shape[1])
            vectors.upsert(plan.collection, chunks, embedded)
    done = [Ready(i.document_id, i.generation, 1) for i in plan.work]
    ledger.settle(tenant, name, done, collection=plan.collection)
    ledger.publish(tenant, name, uid, collection=plan.collection)
    vectors.close()


async def ingest(world: World) -> None:
    parts = [("files", (name, text.encode())) for name, text in DOCUMENTS.items()]
    assert (await world.http.post(PATH, files=parts)).status_code == 202
    await world.services.knowledge.run(lambda: publish(world))


def client(world: World) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{world.url}/v1", api_key="none", max_retries=0, timeout=240
    )


@pytest.mark.timeout(900)
async def test_streamed_answer_cites_the_right_document(real: World) -> None:
    await ingest(real)
    listed = (await real.http.get(PATH)).json()
    assert listed["counts"]["indexed"] == len(DOCUMENTS)
    asked: list[Any] = [{"role": "user", "content": QUESTION}]
    async with client(real) as openai_client:
        began, first = time.perf_counter(), 0.0
        stream = await openai_client.chat.completions.create(
            model="assistant", messages=asked, stream=True, stream_options={"include_usage": True}
        )
        text, last, usage = "", None, None
        async for part in stream:
            usage = part.usage or usage
            for choice in part.choices:
                text += choice.delta.content or ""
                first = first or (time.perf_counter() - began if text else 0.0)
                last = part if choice.finish_reason else last
        assert text.strip()
        assert usage is not None
        assert 0 < usage.prompt_tokens <= 900
        assert last is not None
        assert last.model_extra is not None
        assert "pumps.md" in [c["document"] for c in last.model_extra["citations"]]
        citation = last.model_extra["citations"][0]
        source = await real.http.get(citation["url"])
        assert source.text[citation["start"] : citation["end"]] == citation["text"]
        LOG.info("first token %.2f s, %d prompt tokens: %r", first, usage.prompt_tokens, text)
        await real.http.delete(PATH, params={"path": "pumps.md"})
        after = await openai_client.chat.completions.create(model="assistant", messages=asked)
        assert after.model_extra is not None
        assert "pumps.md" not in [c["document"] for c in after.model_extra["citations"]]


@pytest.mark.timeout(900)
async def test_what_the_documents_do_not_hold_is_not_answered(real: World) -> None:
    await ingest(real)
    asked: list[Any] = [{"role": "user", "content": "Who won the chess championship in Norway?"}]
    async with client(real) as openai_client:
        answer = await openai_client.chat.completions.create(model="assistant", messages=asked)
    assert (answer.choices[0].message.content or "").startswith("I found nothing about this")
    assert answer.model_extra is not None
    assert answer.model_extra["citations"] == []


@pytest.mark.timeout(900)
async def test_index_without_documents_answers_that_it_knows_nothing(real: World) -> None:
    asked: list[Any] = [{"role": "user", "content": QUESTION}]
    async with client(real) as openai_client:
        answer = await openai_client.chat.completions.create(model="assistant", messages=asked)
    assert (answer.choices[0].message.content or "").startswith("I found nothing about this")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
async def test_search_finds_the_document_in_every_mode(real: World, mode: str) -> None:
    await ingest(real)
    body = {"index": "handbook", "queries": ["standby pump", "school tours"], "mode": mode}
    results = (await real.http.post("/v1/search", json={**body, "top_k": 2})).json()["results"]
    assert [r["hits"][0]["document"] for r in results] == ["pumps.md", "tours.md"]
    only = {"index": "handbook", "query": "pump", "mode": mode, "filter": {"document": "tank.md"}}
    hits = (await real.http.post("/v1/search", json=only)).json()["hits"]
    assert {h["document"] for h in hits} <= {"tank.md"}


@pytest.mark.timeout(900)
async def test_a_very_long_question_is_still_searched(real: World) -> None:
    await ingest(real)
    long = QUESTION + " By the way, the weather is fine and we are all well here." * 40
    manifest = real.control.objects["servingmodels"][("default", "assistant")]
    manifest["spec"]["knowledge"]["promptTokens"] = 1500
    manifest["spec"]["generation"] = {"maxTokens": 8}
    real.control.put("servingmodels", manifest)

    def larger() -> bool:
        route = real.services.routes.model("default", "assistant")
        knowledge = route.resource.spec.knowledge if route else None
        return knowledge is not None and knowledge.prompt_tokens == 1500

    await real.until(larger)
    asked: list[Any] = [{"role": "user", "content": long}]
    async with client(real) as openai_client:
        answer = await openai_client.chat.completions.create(model="assistant", messages=asked)
    assert answer.model_extra is not None
    assert answer.model_extra["citations"]


@pytest.mark.timeout(900)
async def test_runtime_speaks_openai_through_the_gateway(real: World) -> None:
    asked: list[Any] = [{"role": "user", "content": "Count: one two three"}]
    async with client(real) as openai_client:
        answer = await openai_client.chat.completions.create(
            model="plain", messages=asked, max_tokens=4, logprobs=True, top_logprobs=2
        )
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].logprobs is not None
        told = await openai_client.completions.create(
            model="plain", prompt="One two three", max_tokens=4, stop=["\n"]
        )
        assert isinstance(told.choices[0].text, str)
        vectors = await openai_client.embeddings.create(
            model=next(m.id for m in (await openai_client.models.list()).data if "mini" in m.id),
            input=["a pump", "a tour"],
        )
        assert [len(row.embedding) for row in vectors.data] == [384, 384]
        with pytest.raises(openai.BadRequestError):
            await openai_client.chat.completions.create(
                model="plain", messages=[{"role": "user", "content": "word " * 4000}]
            )
