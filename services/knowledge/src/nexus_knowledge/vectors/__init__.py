"""The vector index: chunks with a dense vector and a BM25 text, by collection.

Contract suite: tests/contract/knowledge/test_vector_index.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.filters import Filter

Vectors: TypeAlias = NDArray[np.float32]
Version: TypeAlias = tuple[str, int]  # document id, generation


@dataclass(frozen=True, slots=True)
class Found:
    """One chunk that a search found."""

    chunk: Chunk
    score: float  # dense: cosine (-1..1); BM25: >= 0, larger is better
    vector: Vectors | None = None  # float32 [dim], only when the search was asked for it


class VectorIndex(Protocol):
    """Chunks by collection.  What a call has acknowledged, every later call sees.

    All methods raise ``VectorsUnavailable`` when the index does not answer, and those that need
    the collection raise ``CollectionNotFound``.
    """

    def ensure_collection(self, name: str, dimension: int) -> None:
        """Create the collection unless it is there.  Raises ``CollectionMismatch``."""
        ...

    def has(self, name: str) -> bool:
        """Say whether the collection exists."""
        ...

    def drop(self, name: str) -> None:
        """Drop a collection; dropping what is not there is fine."""
        ...

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        ...

    def upsert(self, name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Write chunks (``vectors``: float32 [n, dim]); those with a known id are replaced.

        Raises ``VectorError`` when a chunk's content has more than ``MAX_CONTENT_BYTES``.
        """
        ...

    def count(self, name: str) -> int:
        """Return the number of chunks in a collection."""
        ...

    def count_versions(self, name: str, versions: Sequence[Version]) -> dict[Version, int]:
        """Return how many chunks each (document id, generation) has; 0 when none."""
        ...

    def versions(self, name: str) -> dict[Version, int]:
        """Return every (document id, generation) with its number of chunks.  Walks the lot."""
        ...

    def delete_versions(self, name: str, versions: Sequence[Version]) -> None:
        """Delete the chunks of these (document id, generation); missing ones are fine."""
        ...

    def search_dense(
        self, name: str, vectors: Vectors, k: int, *, where: Filter | None = None
    ) -> list[list[Found]]:
        """Return the ``k`` nearest chunks of each row of ``vectors``, best first."""
        ...

    def search_bm25(
        self,
        name: str,
        texts: Sequence[str],
        k: int,
        *,
        where: Filter | None = None,
        with_vectors: bool = False,
    ) -> list[list[Found]]:
        """Return the ``k`` chunks of the best BM25 score for each text, best first."""
        ...

    def flush(self, name: str) -> None:
        """Have what was written lately searched fast; call it when a sync has written much.

        It changes nothing of what is found.
        """
        ...

    def close(self) -> None:
        """Give back the connection."""
        ...


def open_index(uri: str, *, timeout: float = 30.0) -> VectorIndex:
    """Connect to the Milvus server at ``uri``; every call ends within ``timeout`` seconds."""
    from nexus_knowledge.vectors.milvus import MilvusIndex

    return MilvusIndex(uri, timeout=timeout)
