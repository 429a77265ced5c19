"""Ingest: batches over documents; one bad document stops nothing, a fault of the platform all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import EmbedderUnavailable, ObjectUnreadable
from nexus_knowledge.ledger import DocumentState, Failed, Ready, WorkItem
from nexus_pipelines.chunk.core import chunk
from nexus_pipelines.errors import DimensionMismatch, ParserUnavailable, Unverified
from nexus_pipelines.ingest import reading
from nexus_pipelines.ingest.batches import batches
from nexus_pipelines.ingest.core import Summary
from nexus_pipelines.ingest.outcome import Cut, Left, Outcome
from nexus_pipelines.parse.document import Parsed

WORDS = "the pump is new and the valve is not so hot as the oil of the motor"


def outcome(number: int, kind: int) -> Outcome:
    name = f"d{number}"
    if kind == -1:
        return Failed(name, 1, "Corrupt", "no")
    if kind == -2:
        return Left(WorkItem(name, name, name, "e", 1, 1))
    chunks = [Chunk(f"{name}-{n}", name, name, 1, n, "text", 0, 4) for n in range(kind)]
    return Cut(Ready(name, 1, kind), chunks)


@given(st.lists(st.integers(-2, 30), max_size=60), st.integers(1, 12))
def test_batches_hold_every_chunk_in_order_and_complete_documents_last(
    kinds: list[int], size: int
) -> None:
    given_ = [outcome(n, kind) for n, kind in enumerate(kinds)]
    made = list(batches(given_, size=size))
    assert all(len(batch.chunks) <= size for batch in made)
    assert all(batch.chunks or batch.documents for batch in made)
    assert [c.chunk_id for batch in made for c in batch.chunks] == [
        c.chunk_id for one in given_ if isinstance(one, Cut) for c in one.chunks
    ]
    assert sum(batch.documents for batch in made) == len(kinds)
    stored: set[str] = set()
    for batch in made:
        stored |= {chunk.chunk_id for chunk in batch.chunks}
        for ready in batch.complete:
            assert all(f"{ready.document_id}-{n}" in stored for n in range(ready.chunks))


def test_small_documents_share_batches(desk: Any) -> None:
    for number in range(20):
        desk.put(f"{number}.txt", f"the pump {number}")
    desk.sync()
    assert len(desk.embedded) <= 4
    assert sum(desk.embedded) == 20
    desk.consistent()


def test_progress_counts_every_document_up_to_all(desk: Any) -> None:
    for number in range(20):
        desk.put(f"{number}.txt", f"the pump {number}")
    desk.put("bad.pdf", b"no pdf")
    (shard,) = desk.plan("run")
    seen: list[tuple[int, int]] = []
    desk.ingest("run", shard, progress=lambda s: seen.append((s.done, s.total)))
    assert seen == sorted(seen)
    assert seen[-1] == (21, 21)
    assert len(seen) > 2
    assert desk.ingest("run", shard).done_before == 21


def test_a_bad_document_fails_with_its_reason_and_the_rest_goes_on(desk: Any) -> None:
    desk.put("good.txt", WORDS)
    desk.put("bad.pdf", b"no pdf")
    desk.put("empty.txt", b"")
    desk.sync()
    documents = {d.path: d for d in desk.ledger.documents(*desk.key).documents}
    assert documents["bad.pdf"].reason == "Corrupt"
    assert documents["bad.pdf"].message
    assert documents["empty.txt"].reason == "Empty"
    assert documents["good.txt"].state is DocumentState.INDEXED
    assert documents["good.txt"].title == "good.txt"


def test_a_file_over_the_limit_is_not_even_read(desk: Any) -> None:
    desk.spec = desk.spec.model_validate({"parsing": {"maxFileSize": "10"}})
    desk.put("big.txt", "x" * 11)
    desk.sync()
    (document,) = desk.ledger.documents(*desk.key).documents
    assert (document.reason, document.state) == ("TooLarge", DocumentState.FAILED)
    assert "parsing.maxFileSize" in document.message
    desk.spec = desk.spec.model_validate({"chunking": {"maxTokens": 16, "overlapTokens": 0}})
    desk.sync()
    (document,) = desk.ledger.documents(*desk.key).documents
    assert document.state is DocumentState.INDEXED, "tried again when the limits changed"


def test_an_object_that_may_not_be_read_fails_and_the_rest_goes_on(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("open.txt", "the pump is new")
    desk.put("closed.txt", "the valve is hot")
    opened = type(desk.bucket).open

    def refuse(store: Any, key: str) -> Any:
        if key.endswith("closed.txt"):
            raise ObjectUnreadable(f"object {key!r} may not be touched: AccessDenied")
        return opened(store, key)

    monkeypatch.setattr(type(desk.bucket), "open", refuse)
    desk.sync()
    documents = {d.path: d for d in desk.ledger.documents(*desk.key).documents}
    assert documents["open.txt"].state == DocumentState.INDEXED
    closed = documents["closed.txt"]
    assert (closed.state, closed.reason) == (DocumentState.FAILED, "Unreadable")
    assert "AccessDenied; let the platform read it" in closed.message


def test_an_error_of_ours_fails_one_document_only(
    desk: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus_pipelines.ingest import reading

    real = reading.chunk

    def faulty(parsed: Any, *rest: Any) -> Any:
        if "trap" in parsed.text:
            raise ZeroDivisionError("a defect")
        return real(parsed, *rest)

    monkeypatch.setattr(reading, "chunk", faulty)
    desk.put("trap.txt", "trap")
    desk.put("good.txt", WORDS)
    desk.sync()
    documents = {d.path: d for d in desk.ledger.documents(*desk.key).documents}
    assert documents["trap.txt"].reason == "InternalError"
    assert documents["good.txt"].state is DocumentState.INDEXED
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_large_documents_are_cut_one_at_a_time(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[int, bool] = {}
    turn = threading.Lock()

    def watched(parsed: Parsed, *given: Any) -> Any:
        held[len(parsed.text)] = turn.locked()
        return chunk(parsed, *given)

    monkeypatch.setattr(reading, "_LARGE", len(WORDS))
    monkeypatch.setattr(reading, "chunk", watched)
    for run, text in (("large", f"{WORDS} too"), ("small", WORDS)):  # apart: who has it is seen
        desk.put(f"{run}.txt", text)
        (shard,) = desk.plan(run)
        assert desk.ingest(run, shard, turn=turn).ingested == 1
        desk.publish(run)
    assert held == {len(WORDS) + 4: True, len(WORDS): False}
    assert not turn.locked()


def test_an_embedder_that_is_down_stops_the_step_and_nothing_is_committed(desk: Any) -> None:
    def down(texts: Sequence[str]) -> Any:
        raise EmbedderUnavailable("down")

    desk.put("a.txt", WORDS)
    (shard,) = desk.plan("run")
    with pytest.raises(EmbedderUnavailable):
        desk.ingest("run", shard, embed=down)
    assert desk.ledger.counts(*desk.key).pending == 1
    desk.ingest("run", shard)
    desk.publish("run")
    assert desk.searchable() == {"a.txt": WORDS}


def test_a_parser_that_cannot_start_stops_the_step(desk: Any) -> None:
    def broken(item: WorkItem) -> Outcome:
        raise ParserUnavailable("no memory for another process")

    desk.put("a.txt", WORDS)
    (shard,) = desk.plan("run")
    with pytest.raises(ParserUnavailable):
        desk.ingest("run", shard, read=broken)
    assert desk.ledger.counts(*desk.key).pending == 1


def test_vectors_of_another_length_than_the_spec_says_are_refused(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    (shard,) = desk.plan("run")
    with pytest.raises(DimensionMismatch, match=r"team/handbook: embedding.dimension is 384"):
        desk.ingest("run", shard, dimension=384)


def test_chunks_that_got_lost_on_the_way_are_written_again(desk: Any) -> None:
    desk.put("a.txt", f"{WORDS}. " * 5)
    (shard,) = desk.plan("run")
    real = desk.vectors.upsert
    lost = [True]

    def forgetful(name: str, chunks: Sequence[Chunk], vectors: Any) -> None:
        keep = len(chunks) - 1 if lost.pop() else len(chunks)
        lost.append(False)
        real(name, chunks[:keep], vectors[:keep])

    desk.vectors.upsert = forgetful
    with pytest.raises(Unverified):
        desk.ingest("run", shard)
    assert desk.ledger.counts(*desk.key).pending == 1
    desk.ingest("run", shard)
    desk.publish("run")
    desk.consistent()


def test_reading_goes_on_while_a_batch_is_embedded(desk: Any) -> None:
    """The embedder waits until a later document is being read: they overlap, or this hangs."""
    reading = threading.Event()
    for number in range(40):
        desk.put(f"{number:02}.txt", WORDS)
    (shard,) = desk.plan("run")
    from nexus_pipelines.ingest.outcome import Cut as Made

    def read(item: WorkItem) -> Outcome:
        number = int(item.path[:2])
        if number > 30:
            reading.set()
        chunk = Chunk(f"c{number}", item.document_id, item.path, item.generation, 0, "t", 0, 1)
        return Made(Ready(item.document_id, item.generation, 1), [chunk])

    def embed(texts: Sequence[str]) -> Any:
        if len(desk.embedded) > 2:
            assert reading.wait(120)
        desk.embedded.append(len(texts))
        return np.zeros((len(texts), 8), np.float32)

    summary = desk.ingest("run", shard, read=read, embed=embed)
    assert summary == Summary(total=40, ingested=40, chunks=40)
