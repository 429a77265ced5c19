"""Searching an index: candidates, what of them is live, one order."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.chunks import Chunk
from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.errors import (
    CollectionNotFound,
    IndexNotReady,
    ModeNotOffered,
    RetrievalError,
)
from nexus_knowledge.filters import Filter
from nexus_knowledge.ledger import Ledger, View
from nexus_knowledge.retrieval import Hit
from nexus_knowledge.retrieval.fusion import fuse
from nexus_knowledge.vectors import Found, VectorIndex, Vectors

MODES = ("dense", "bm25", "hybrid")
MAX_TOP_K = 100
_LOOKS = 4  # at a moving index, before what was found is taken as it is
_WIDEST = 2000  # candidates
_ROWS_AT_ONCE = 4096  # candidates of all queries together; each comes with its text and vector


@dataclass(frozen=True, slots=True)
class _Candidate:
    chunk: Chunk
    score: float
    dense_score: float | None


class Retriever:
    """Searches indexes.  Safe to share by threads."""

    def __init__(self, ledger: Ledger, vectors: VectorIndex, embedder: EmbedderClient) -> None:
        """Take the parts; the caller closes them."""
        self._ledger, self._vectors, self._embedder = ledger, vectors, embedder
        self._threads = ThreadPoolExecutor(thread_name_prefix="bm25")

    def search(
        self,
        tenant: str,
        index: str,
        spec: RagIndexSpec,
        queries: Sequence[str],
        *,
        top_k: int | None = None,
        mode: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[list[Hit]]:
        """Return the best passages that may be cited, for each query, best first.

        ``top_k`` and ``mode`` default to the spec's; ``where`` is a filter as in ``Filter.parse``.
        Raises ``IndexNotReady`` before the first publish, ``ModeNotOffered``, ``InvalidFilter``,
        and what embedder, ledger and vector index raise.
        """
        wanted = spec.retrieval.top_k if top_k is None else top_k
        if not 1 <= wanted <= MAX_TOP_K:
            raise RetrievalError(f"top_k must be between 1 and {MAX_TOP_K}, not {wanted}")
        search = _Search(
            self._vectors,
            self._threads,
            texts=list(queries),
            vectors=np.zeros((0, 0), dtype=np.float32),
            mode=_offered(mode or spec.retrieval.mode),
            dense_weight=spec.retrieval.dense_weight / 100,
            where=Filter.parse(where or {}),
        )
        if not queries:
            return []
        if search.mode != "bm25":
            # By the index's own model: vectors of another one would be found near anything.
            search.vectors = self._embedder.embed(
                queries, prefix=spec.embedding.query_prefix, model=spec.embedding.uri
            )
        return [
            hits
            for part in search.parts(max(1, _ROWS_AT_ONCE // _width(wanted)))
            for hits in self._live_hits(tenant, index, part, wanted)
        ]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _live_hits(
        self, tenant: str, index: str, search: "_Search", wanted: int
    ) -> list[list[Hit]]:
        """Look until nothing moved in between and enough of what was found is live."""
        width = _width(wanted)
        found: list[list[_Candidate]] = []
        for _ in range(_LOOKS):
            view = self._view(tenant, index)
            try:
                found = search.candidates(view.collection, width)
            except CollectionNotFound:
                continue  # replaced since we looked, and dropped already
            names = {one.chunk.document_id for several in found for one in several}
            revision, live = self._ledger.live(tenant, index, sorted(names))
            kept = [[one for one in several if _is_live(one, live)] for several in found]
            lost = sum(map(len, found)) - sum(map(len, kept))
            hits = [[_hit(one) for one in several[:wanted]] for several in kept]
            if not lost:
                return hits
            if revision == view.revision:
                # Chunks that wait for their deletion took places: look wider, if that can help.
                short = any(
                    len(few) < wanted <= len(all_) for few, all_ in zip(kept, found, strict=True)
                )
                if not short or width >= _WIDEST:
                    return hits
                width = min(4 * width, _WIDEST)
        if not found:
            raise IndexNotReady(f"the collection of index {tenant}/{index} is missing; sync it")
        return hits

    def _view(self, tenant: str, index: str) -> View:
        view = self._ledger.view(tenant, index)
        if view is None:
            raise IndexNotReady(f"index {tenant}/{index} has not been synced yet")
        return view


@dataclass
class _Search:
    """One search, apart from where and how wide."""

    index: VectorIndex
    threads: ThreadPoolExecutor
    texts: list[str]
    vectors: Vectors  # float32 [queries, dim]; empty in mode bm25
    mode: str
    dense_weight: float
    where: Filter | None

    def parts(self, size: int) -> Iterator["_Search"]:
        """Yield searches of at most `size` of the queries each."""
        for first in range(0, len(self.texts), size):
            some = slice(first, first + size)
            yield replace(self, texts=self.texts[some], vectors=self.vectors[some])

    def candidates(self, collection: str, width: int) -> list[list[_Candidate]]:
        """Return what each query finds in a collection, best first."""
        if self.mode == "bm25":
            return [
                [_Candidate(one.chunk, one.score, None) for one in found]
                for found in self.index.search_bm25(collection, self.texts, width, where=self.where)
            ]
        if self.mode == "dense":
            return [
                [_Candidate(one.chunk, one.score, one.score) for one in found]
                for found in self._dense(collection, width)
            ]
        words = self.threads.submit(
            self.index.search_bm25,
            collection,
            self.texts,
            width,
            where=self.where,
            with_vectors=True,
        )
        dense = self._dense(collection, width)
        return [
            self._fused(*found) for found in zip(self.vectors, dense, words.result(), strict=True)
        ]

    def _dense(self, collection: str, width: int) -> list[list[Found]]:
        return self.index.search_dense(collection, self.vectors, width, where=self.where)

    def _fused(self, query: Vectors, dense: list[Found], words: list[Found]) -> list[_Candidate]:
        chunks = {one.chunk.chunk_id: one.chunk for one in [*dense, *words]}
        # Every candidate gets its cosine, also those that only their words brought in.
        cosines = {one.chunk.chunk_id: _cosine(query, one.vector) for one in words}
        cosines |= {one.chunk.chunk_id: one.score for one in dense}
        scores = fuse(
            cosines,
            {one.chunk.chunk_id: one.score for one in words},
            dense_weight=self.dense_weight,
        )
        order = sorted(scores, key=lambda name: (-scores[name], name))
        return [_Candidate(chunks[name], scores[name], cosines[name]) for name in order]


def _width(wanted: int) -> int:
    """Return how many candidates are looked at for so many hits, when most are live."""
    return max(4 * wanted, 40)


def _offered(mode: str) -> str:
    if mode == "tfidf":
        raise ModeNotOffered("retrieval mode tfidf is not offered yet, use bm25")
    if mode not in MODES:
        raise ModeNotOffered(f"retrieval mode {mode!r} is unknown; use {', '.join(MODES)}")
    return mode


def _is_live(candidate: _Candidate, live: Mapping[str, int]) -> bool:
    return live.get(candidate.chunk.document_id) == candidate.chunk.generation


def _cosine(query: Vectors, vector: Vectors | None) -> float:
    if vector is None:
        raise RetrievalError("the vector index gave a chunk without its vector")
    lengths = float(np.linalg.norm(query) * np.linalg.norm(vector))
    return float(query @ vector) / max(lengths, 1e-12)


def _hit(candidate: _Candidate) -> Hit:
    chunk = candidate.chunk
    return Hit(
        document=chunk.document,
        document_id=chunk.document_id,
        score=candidate.score,
        text=chunk.text,
        page=chunk.page,
        section=chunk.section,
        start=chunk.start,
        end=chunk.end,
        chunk_id=chunk.chunk_id,
        dense_score=candidate.dense_score,
        heading=chunk.heading,
        metadata=chunk.metadata,
    )
