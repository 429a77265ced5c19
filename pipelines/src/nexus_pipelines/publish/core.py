"""The order of a publish: the collection is there, versions flip, garbage goes, numbers agree."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from nexus_knowledge.ledger import Counts, Ledger, View
from nexus_knowledge.vectors import VectorIndex
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.publish.sweeping import collect_garbage, heal
from nexus_pipelines.runs import RunPlan


@dataclass(frozen=True, slots=True)
class Publication:
    """Publishes one index.

    `vectors` opens the vector index when it is first needed: a sync that changed nothing never
    does.  `dimension` asks the embedder, for a collection without documents.
    """

    key: IndexKey
    uid: str
    ledger: Ledger
    vectors: Callable[[], VectorIndex]
    dimension: Callable[[], int]

    def publish(self, plan: RunPlan) -> bool:
        """Make the run's versions live; give whether anything may differ from before."""
        view = self.ledger.view(*self.key)
        if view is None or view.collection != plan.collection:
            # A search must find the collection the moment it is the active one, be it empty.
            vectors = self.vectors()
            if not vectors.has(plan.collection):
                vectors.ensure_collection(plan.collection, self.dimension())
        published = self.ledger.publish(*self.key, self.uid, collection=plan.collection)
        return plan.changes > 0 or published.flipped > 0 or published.switched

    def clean_up(self, *, changed: bool, asked: bool, thorough: bool) -> None:
        """Collect garbage; heal what is left if anything changed, or somebody asked, or it is due.

        The look at an unchanged bucket that the interval brings costs the vector index nothing.
        """
        if self.ledger.garbage(*self.key, limit=1):
            changed = collect_garbage(self.key, self.ledger, self.vectors()) > 0
        view = self.ledger.view(*self.key)
        if view is None:
            return
        if changed:
            # Rows that are not flushed are found, but slowly.
            self.vectors().flush(view.collection)
        if changed or asked or thorough:
            heal(self.key, view.collection, self.ledger, self.vectors(), thorough=thorough)


def report(counts: Counts, view: View | None) -> str:
    """Write the report that the index's status shows, compact JSON."""
    return json.dumps(
        {
            "documents": {
                "total": counts.total,
                "indexed": counts.indexed,
                "failed": counts.failed,
                "pending": counts.pending,
            },
            "chunks": counts.chunks,
            "collection": view.collection if view else None,
            "fingerprint": view.fingerprint if view else None,
        },
        separators=(",", ":"),
    )
