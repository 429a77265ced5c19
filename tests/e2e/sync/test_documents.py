"""Upload, change, delete, upload again: what is searchable follows the bucket."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.chunks import Chunk
from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.ledger import DocumentState
from nexus_knowledge.vectors import VectorIndex

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PUMP = "# Pump\n\nThe feed pump is primed by opening valve seven before it is started.\n"
OVEN = "# Oven\n\nThe oven is heated to two hundred degrees for the glaze.\n"


def consistent(site: Any, vectors: VectorIndex) -> None:
    """Each live version's chunks are there exactly once, and nothing else is."""
    ledger = site.ledger()
    try:
        view = ledger.view(site.namespace, site.index)
        if view is None:
            return
        expected = ledger.expected(site.namespace, site.index, view.collection)
        assert ledger.garbage(site.namespace, site.index) == []
        assert vectors.versions(view.collection) == expected
        assert vectors.count(view.collection) == sum(count or 0 for count in expected.values())
        documents = site.documents()
        live = {(d.document_id, d.live_generation) for d in documents.values() if d.live_generation}
        assert live == set(expected)
    finally:
        ledger.close()


def nearest(site: Any, vectors: VectorIndex, question: str) -> list[str]:
    """The texts that a dense search finds, best first, live ones only."""
    ledger = site.ledger()
    try:
        view = ledger.view(site.namespace, site.index)
        with EmbedderClient(site.services.embedder, model=site.spec.embedding.uri) as embedder:
            vector = np.asarray(embedder.embed([question]))
        (found,) = vectors.search_dense(view.collection, vector, 5)
        ids = [one.chunk.document_id for one in found]
        _, live = ledger.live(site.namespace, site.index, ids)
        return [
            one.chunk.text
            for one in found
            if live.get(one.chunk.document_id) == one.chunk.generation
        ]
    finally:
        ledger.close()


def test_upload_change_delete_and_upload_again(site: Any, vectors: VectorIndex) -> None:
    site.put("pump.md", PUMP)
    site.put("a b/ofen ü.md", OVEN)
    report = site.sync()
    assert report["documents"] == {"total": 2, "indexed": 2, "failed": 0, "pending": 0}
    assert report["chunks"] == 2
    assert report["fingerprint"] == site.spec.fingerprint()
    assert "valve seven" in nearest(site, vectors, "How do I prime the pump?")[0]
    consistent(site, vectors)

    first = site.documents()["pump.md"]
    site.put("pump.md", PUMP.replace("seven", "nine"))
    site.sync()
    texts = nearest(site, vectors, "How do I prime the pump?")
    assert any("valve nine" in text for text in texts)
    assert not any("valve seven" in text for text in texts)
    second = site.documents()["pump.md"]
    assert second.document_id == first.document_id
    assert (second.live_generation or 0) > (first.live_generation or 0)
    consistent(site, vectors)

    site.remove("pump.md")
    run = site.next_run()
    assert site.plan(run) == []
    # From the sync that saw the deletion on, before anything is cleaned up.
    assert not any("valve" in text for text in nearest(site, vectors, "How do I prime the pump?"))
    assert site.publish(run)["documents"]["total"] == 1
    consistent(site, vectors)

    site.put("pump.md", PUMP.replace("seven", "nine"))
    assert site.sync()["documents"]["indexed"] == 2
    assert any("valve nine" in text for text in nearest(site, vectors, "prime the pump"))
    consistent(site, vectors)


def test_an_unchanged_index_costs_nothing(site: Any, vectors: VectorIndex) -> None:
    site.put("pump.md", PUMP)
    first = site.sync()
    generation = site.documents()["pump.md"].live_generation
    site.services = site.services.__class__(
        "http://127.0.0.1:9", "http://127.0.0.1:9", site.services.cache
    )
    assert site.sync() == first, "neither the vector index nor the embedder was asked"
    assert site.documents()["pump.md"].live_generation == generation


def test_bad_documents_fail_with_a_reason_and_the_rest_goes_on(
    site: Any, vectors: VectorIndex
) -> None:
    site.put("pump.md", PUMP)
    site.put("bad.pdf", b"%PDF-1.7 and nothing more")
    site.put("empty.txt", b"")
    site.put("photo.png", b"\x89PNG\r\n\x1a\n")
    site.put("-rf '\n\".txt", "A name is only a name.")
    report = site.sync()
    assert report["documents"] == {"total": 5, "indexed": 2, "failed": 3, "pending": 0}
    seen = {path: (d.state, d.reason) for path, d in site.documents().items()}
    assert seen["bad.pdf"] == (DocumentState.FAILED, "Corrupt")
    assert seen["empty.txt"] == (DocumentState.FAILED, "Empty")
    assert seen["photo.png"] == (DocumentState.FAILED, "UnsupportedFormat")
    assert seen["-rf '\n\".txt"] == (DocumentState.INDEXED, "")
    consistent(site, vectors)

    # A good document replaced by a bad one stays live under its old version.
    site.put("pump.md", b"\x89PNG\r\n\x1a\n")
    assert site.sync()["documents"]["failed"] == 4
    assert site.documents()["pump.md"].live_generation is not None
    assert any("valve seven" in text for text in nearest(site, vectors, "prime the pump"))
    consistent(site, vectors)
    assert site.plan(site.next_run()) == [], "failed documents are not tried again unchanged"


def test_an_empty_index_can_be_searched(site: Any, vectors: VectorIndex) -> None:
    report = site.sync()
    assert report["documents"]["total"] == 0
    assert vectors.count(report["collection"]) == 0
    assert nearest(site, vectors, "anything") == []


def test_a_changed_fingerprint_builds_beside_and_flips(site: Any, vectors: VectorIndex) -> None:
    site.put("pump.md", PUMP)
    site.put("oven.md", OVEN)
    old = site.sync()["collection"]
    site.spec = RagIndexSpec.model_validate({"chunking": {"maxTokens": 64}})
    run = site.next_run()
    (shard,) = site.plan(run)
    site.ingest(run, shard)
    assert any("valve" in text for text in nearest(site, vectors, "prime the pump"))
    report = site.publish(run)
    assert report["collection"] != old
    assert report["fingerprint"] == site.spec.fingerprint()
    assert not vectors.has(old)
    consistent(site, vectors)


def test_include_and_exclude_choose_documents(site: Any, vectors: VectorIndex) -> None:
    source: dict[str, object] = {"include": ["*.md"], "exclude": ["drafts/**"]}
    site.spec = RagIndexSpec.model_validate({"source": source})
    for path in ("a.md", "deep/er/b.md", "drafts/c.md", "d.txt"):
        site.put(path, PUMP)
    site.sync()
    assert set(site.documents()) == {"a.md", "deep/er/b.md"}
    site.spec = RagIndexSpec.model_validate({"source": {**source, "include": ["**"]}})
    site.sync()
    assert set(site.documents()) == {"a.md", "deep/er/b.md", "d.txt"}


def test_a_lost_collection_is_built_anew(site: Any, vectors: VectorIndex) -> None:
    site.put("pump.md", PUMP)
    collection = site.sync()["collection"]
    vectors.drop(collection)
    site.put("oven.md", OVEN)
    site.sync()
    report = site.sync()
    assert report["documents"] == {"total": 2, "indexed": 2, "failed": 0, "pending": 0}
    consistent(site, vectors)


def test_orphans_and_losses_are_found_and_mended(site: Any, vectors: VectorIndex) -> None:
    for number in range(4):
        site.put(f"{number}.md", PUMP + str(number))
    collection = site.sync()["collection"]
    documents = site.documents()
    lost = documents["1.md"]
    vectors.delete_versions(collection, [(lost.document_id, lost.live_generation)])
    strays = [Chunk(f"stray{n}", "nobody", "n.md", 1, n, "stray", 0, 5) for n in range(3)]
    vectors.upsert(collection, strays, np.ones((3, 384), np.float32))
    site.put("4.md", PUMP)
    site.sync()
    site.sync()
    assert site.documents()["1.md"].state is DocumentState.INDEXED
    consistent(site, vectors)


def test_teardown_leaves_nothing_but_the_source(site: Any, vectors: VectorIndex) -> None:
    site.put("pump.md", PUMP)
    collection = site.sync()["collection"]
    site.teardown("Retain")
    assert vectors.has(collection)
    assert site.stores.working()
    site.teardown()
    assert site.stores.working() == []
    assert not vectors.has(collection)
    assert site.documents() == {}
    assert site.holds("pump.md")
    site.teardown()
    site.uid = "uid-2"
    assert site.sync()["documents"]["indexed"] == 1
    consistent(site, vectors)


def test_word_and_pdf_come_with_pages_and_sections(site: Any, vectors: VectorIndex) -> None:
    import docx

    document = docx.Document()
    document.add_heading("Boiler", 1)
    document.add_paragraph("The boiler is descaled every winter.")
    buffer = io.BytesIO()
    document.save(buffer)
    site.put("boiler.docx", buffer.getvalue())
    site.sync()
    with site.ledger() as ledger:
        view = ledger.view(site.namespace, site.index)
    (found,) = vectors.search_dense(view.collection, np.ones((1, 384), np.float32), 3)
    assert found[0].chunk.section == "Boiler"
    assert found[0].chunk.text == "Boiler\n\nThe boiler is descaled every winter."
