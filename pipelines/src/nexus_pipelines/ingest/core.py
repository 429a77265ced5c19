"""Bring one shard's documents into the collection: read, embed, store, verify, commit.

Reading, embedding and storing overlap: documents are read in threads, one batch is embedded while
the one before is stored.  A crash at any point leaves documents pending; the same generation is
then written again over itself.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nexus_knowledge.ledger.types import Failed, Ready, Settled, WorkItem
from nexus_knowledge.vectors import VectorIndex
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.errors import DimensionMismatch, Unverified
from nexus_pipelines.ingest.batches import Batch, batches
from nexus_pipelines.ingest.outcome import Outcome

Vectors = NDArray[np.float32]
BATCH = 128  # chunks: some seconds of embedding on two cores, and one round trip each


class Settling(Protocol):
    """What ingest needs of the ledger."""

    def settle(
        self, tenant: str, index: str, outcomes: Sequence[Ready | Failed], *, collection: str
    ) -> list[Settled]:
        """Record what became of versions."""
        ...

    def still_wanted(self, tenant: str, index: str, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Return the items that still need ingesting."""
        ...


@dataclass(slots=True)
class Summary:
    """How a shard went, in documents."""

    total: int = 0
    ingested: int = 0
    failed: int = 0
    left: int = 0  # changed or gone meanwhile
    superseded: int = 0
    chunks: int = 0
    done_before: int = 0

    @property
    def done(self) -> int:
        """Documents that are dealt with."""
        return self.ingested + self.failed + self.left + self.superseded + self.done_before


@dataclass(slots=True)
class Ingest:
    """One shard on its way."""

    key: IndexKey
    collection: str
    ledger: Settling
    vectors: VectorIndex
    embed: Callable[[Sequence[str]], Vectors]
    read: Callable[[WorkItem], Outcome]
    dimension: int | None
    threads: int
    progress: Callable[[Summary], None]
    batch: int = BATCH
    summary: Summary = field(default_factory=Summary)
    _ensured: bool = False

    def run(self, items: Sequence[WorkItem]) -> Summary:
        """Ingest what still has to be ingested of a shard.

        Raises:
            KnowledgeError, StepError: a part of the platform fails; documents never do.
        """
        wanted = self.ledger.still_wanted(*self.key, items)
        self.summary.total = len(items)
        self.summary.done_before = len(items) - len(wanted)
        readers = ThreadPoolExecutor(self.threads, thread_name_prefix="read")
        embedder = ThreadPoolExecutor(1, thread_name_prefix="embed")
        try:
            self._flow(self._outcomes(wanted, readers), embedder)
        finally:
            readers.shutdown(wait=True, cancel_futures=True)
            embedder.shutdown(wait=True, cancel_futures=True)
        return self.summary

    def _outcomes(
        self, items: Sequence[WorkItem], readers: ThreadPoolExecutor
    ) -> Iterator[Outcome]:
        """Read documents, a few ahead; one slow document holds up no other."""
        coming = iter(items)
        reading = {readers.submit(self.read, item) for item in islice(coming, 2 * self.threads)}
        while reading:
            done, reading = wait(reading, return_when=FIRST_COMPLETED)
            for future in done:
                reading.update(readers.submit(self.read, item) for item in islice(coming, 1))
                yield future.result()

    def _flow(self, outcomes: Iterator[Outcome], embedder: ThreadPoolExecutor) -> None:
        embedding: deque[tuple[Batch, Future[Vectors]]] = deque()
        for batch in batches(outcomes, size=self.batch):
            texts = [chunk.content for chunk in batch.chunks]
            embedding.append((batch, embedder.submit(self.embed, texts)))
            if len(embedding) > 1:
                self._store(*embedding.popleft())
        while embedding:
            self._store(*embedding.popleft())

    def _store(self, batch: Batch, embedded: "Future[Vectors]") -> None:
        if batch.chunks:
            vectors = embedded.result()
            self._ensure(vectors.shape[1])
            self.vectors.upsert(self.collection, batch.chunks, vectors)
        if batch.complete:
            self._verify(batch.complete)
        outcomes: list[Ready | Failed] = [*batch.complete, *batch.failed]
        settled = (
            self.ledger.settle(*self.key, outcomes, collection=self.collection) if outcomes else []
        )
        summary = self.summary
        for outcome, verdict in zip(outcomes, settled, strict=True):
            if verdict is Settled.SUPERSEDED:
                summary.superseded += 1
            elif isinstance(outcome, Ready):
                summary.ingested += 1
                summary.chunks += outcome.chunks
            else:
                summary.failed += 1
        summary.left += batch.left
        self.progress(summary)

    def _ensure(self, dimension: int) -> None:
        if self.dimension not in {None, dimension}:
            raise DimensionMismatch(
                f"{self.key}: embedding.dimension is {self.dimension}, but the embedder's vectors "
                f"have {dimension}; correct the spec or the embedder"
            )
        if not self._ensured:
            self.vectors.ensure_collection(self.collection, dimension)
            self._ensured = True

    def _verify(self, complete: Sequence[Ready]) -> None:
        """Count what the index holds of complete documents, all of a batch at once."""
        wanted = {(one.document_id, one.generation): one.chunks for one in complete}
        found = self.vectors.count_versions(self.collection, list(wanted))
        wrong = [version for version, count in wanted.items() if found.get(version, 0) != count]
        if wrong:
            # More than wanted is what an earlier release cut otherwise; less was lost.
            self.vectors.delete_versions(self.collection, wrong)
            raise Unverified(
                f"{self.key}: {len(wrong)} documents have not the chunks in {self.collection} that "
                "were written; they are written again"
            )
