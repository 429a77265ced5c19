"""Chunks of many documents in batches of one size, with who is complete after each.  Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.ledger.types import Failed, Ready
from nexus_pipelines.ingest.outcome import Cut, Outcome


@dataclass(slots=True)
class Batch:
    """Chunks to embed and store together, and the documents that are settled after that."""

    chunks: list[Chunk] = field(default_factory=list)
    complete: list[Ready] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    left: int = 0

    @property
    def documents(self) -> int:
        """How many documents are done with after this batch."""
        return len(self.complete) + len(self.failed) + self.left


def batches(outcomes: Iterable[Outcome], *, size: int) -> Iterator[Batch]:
    """Fill batches of at most `size` chunks, and of at most as many documents.

    A long document spans several and is complete in its last; every outcome is in exactly one.
    """
    batch = Batch()
    for outcome in outcomes:
        if isinstance(outcome, Cut):
            for first in range(0, len(outcome.chunks), size):
                part = outcome.chunks[first : first + size]
                if len(batch.chunks) + len(part) > size:
                    yield batch
                    batch = Batch()
                batch.chunks += part
            batch.complete.append(outcome.ready)
        elif isinstance(outcome, Failed):
            batch.failed.append(outcome)
        else:
            batch.left += 1
        if batch.documents >= size:
            yield batch
            batch = Batch()
    if batch.documents or batch.chunks:
        yield batch
