"""Retrieval: from a question to passages that may be cited."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that answers a query, best first in its list.

    ``score`` orders the hits of one mode (dense: cosine; bm25: BM25; hybrid: 0..1);
    ``dense_score`` is the cosine of query and passage, None in mode bm25.
    """

    document: str
    document_id: str
    score: float
    text: str
    page: int
    section: str
    start: int
    end: int
    chunk_id: str
    dense_score: float | None = None
    heading: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
