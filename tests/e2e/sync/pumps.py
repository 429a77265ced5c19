"""Documents that say which version they are, and the whole of them in the index."""

from __future__ import annotations

from typing import Any

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.vectors import VectorIndex

SPEC = RagIndexSpec.model_validate({"chunking": {"maxTokens": 24, "overlapTokens": 4}})


def text(number: int, version: int) -> str:
    """Return a document of one to nine sentences."""
    sentence = f"Pump {number} of version {version} is checked before it is started. "
    return sentence * (1 + number % 9)


def whole(site: Any, vectors: VectorIndex, wanted: dict[str, int]) -> None:
    """Every document's chunks are there exactly once, in the version that the bucket holds."""
    ledger = site.ledger()
    try:
        view = ledger.view(site.namespace, site.index)
        assert ledger.garbage(site.namespace, site.index) == []
        expected = ledger.expected(site.namespace, site.index, view.collection)
    finally:
        ledger.close()
    assert vectors.versions(view.collection) == expected
    assert vectors.count(view.collection) == sum(count or 0 for count in expected.values())
    documents = site.documents()
    assert set(documents) == set(wanted)
    for path, version in wanted.items():
        name = f"Pump {int(path[:3])} of version {version} "
        (found,) = vectors.search_bm25(view.collection, [name], 1000)
        mine = [one.chunk for one in found if one.chunk.document == path]
        assert len(mine) == documents[path].chunks > 0
        assert all(chunk.text in text(int(path[:3]), version) for chunk in mine)
