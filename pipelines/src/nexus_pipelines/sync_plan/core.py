"""Which objects are an index's documents, and how their work is cut into shards.  Pure."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence

from nexus_api.globs import selector
from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.ledger.types import Listed, WorkItem
from nexus_knowledge.objects import ObjectInfo

MAX_SHARDS = 200  # an output parameter of a Workflow must stay small
# A step takes some two seconds to start: a shard below this much work is not worth one.
SMALL_SHARD = 4 * 1024**2
LARGE_SHARD = 64 * 1024**2
# What a document costs beside its bytes, in bytes: opening, rows, round trips.
DOCUMENT_COST = 20 * 1024


def documents(objects: Iterable[ObjectInfo], prefix: str, spec: RagIndexSpec) -> Iterator[Listed]:
    """Pick the documents of an index from a listing of the bucket."""
    belongs = selector(spec.source.include, spec.source.exclude)
    for found in objects:
        path = found.key.removeprefix(prefix)
        if not path or not found.key.startswith(prefix) or not belongs(path):
            continue
        yield Listed(
            path=path, key=found.key, etag=found.etag, size=found.size, modified=found.modified
        )


def limits_digest(spec: RagIndexSpec) -> str:
    """Stand for the parsing limits: a document that failed is tried again when they change."""
    return hashlib.sha256(spec.parsing.model_dump_json().encode()).hexdigest()[:10]


def shards(work: Sequence[WorkItem], *, parallelism: int) -> list[list[WorkItem]]:
    """Share work out evenly by size: few shards for little work, at most 200 for much.

    The same work gives the same shards, in whatever order it comes.
    """
    if not work:
        return []
    costs = {item.document_id: item.size + DOCUMENT_COST for item in work}
    total = sum(costs.values())
    wanted = max(min(parallelism, total // SMALL_SHARD), -(-total // LARGE_SHARD), 1)
    count = min(wanted, MAX_SHARDS, len(work))
    loads = [(0, number) for number in range(count)]
    parts: list[list[WorkItem]] = [[] for _ in range(count)]
    for item in sorted(work, key=lambda one: (-costs[one.document_id], one.path)):
        load, number = heapq.heappop(loads)
        parts[number].append(item)
        heapq.heappush(loads, (load + costs[item.document_id], number))
    for part in parts:
        part.sort(key=lambda one: one.path)
    return parts
