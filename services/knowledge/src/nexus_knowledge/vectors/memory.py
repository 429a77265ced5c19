"""A vector index in memory: exact, for tests and for reading what the protocol means."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from nexus_knowledge.chunks import MAX_CONTENT_BYTES, Chunk
from nexus_knowledge.errors import CollectionMismatch, CollectionNotFound, VectorError
from nexus_knowledge.filters import Filter
from nexus_knowledge.vectors import Found, Vectors, Version

_WORD = re.compile(r"\w+")
_K1, _B = 1.2, 0.75


class _Collection:
    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.rows: dict[str, tuple[Chunk, Vectors]] = {}


class MemoryIndex:
    """Chunks in dictionaries; searches look at every one."""

    def __init__(self) -> None:
        """Make an empty index."""
        self._collections: dict[str, _Collection] = {}

    def ensure_collection(self, name: str, dimension: int) -> None:
        """Create the collection unless it is there."""
        held = self._collections.setdefault(name, _Collection(dimension)).dimension
        if held != dimension:
            raise CollectionMismatch(f"collection {name} has dimension {held}, not {dimension}")

    def has(self, name: str) -> bool:
        """Say whether the collection exists."""
        return name in self._collections

    def drop(self, name: str) -> None:
        """Drop a collection."""
        self._collections.pop(name, None)

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        return sorted(self._collections)

    def upsert(self, name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Write chunks."""
        collection = self._get(name)
        if vectors.shape != (len(chunks), collection.dimension):
            raise CollectionMismatch(
                f"{vectors.shape} vectors for {len(chunks)} chunks of collection {name}, "
                f"whose dimension is {collection.dimension}"
            )
        if any(len(chunk.content.encode()) > MAX_CONTENT_BYTES for chunk in chunks):
            raise VectorError(f"a chunk has more than {MAX_CONTENT_BYTES} bytes")
        for chunk, vector in zip(chunks, vectors, strict=True):
            collection.rows[chunk.chunk_id] = (chunk, vector.astype(np.float32))

    def count(self, name: str) -> int:
        """Return the number of chunks."""
        return len(self._get(name).rows)

    def count_versions(self, name: str, versions: Sequence[Version]) -> dict[Version, int]:
        """Return how many chunks each version has."""
        held = self.versions(name)
        return {version: held.get(version, 0) for version in versions}

    def versions(self, name: str) -> dict[Version, int]:
        """Return every version with its number of chunks."""
        rows = self._get(name).rows.values()
        return dict(Counter((chunk.document_id, chunk.generation) for chunk, _ in rows))

    def delete_versions(self, name: str, versions: Sequence[Version]) -> None:
        """Delete the chunks of versions."""
        collection, gone = self._get(name), set(versions)
        collection.rows = {
            key: row
            for key, row in collection.rows.items()
            if (row[0].document_id, row[0].generation) not in gone
        }

    def search_dense(
        self, name: str, vectors: Vectors, k: int, *, where: Filter | None = None
    ) -> list[list[Found]]:
        """Return the nearest chunks by cosine."""
        rows = self._where(name, where)
        if not rows:
            return [[] for _ in vectors]
        held = _unit(np.stack([vector for _, vector in rows]))
        found = []
        for scores in _unit(vectors) @ held.T:
            best = np.argsort(-scores, kind="stable")[:k]
            found.append([Found(rows[one][0], float(scores[one])) for one in best])
        return found

    def search_bm25(
        self,
        name: str,
        texts: Sequence[str],
        k: int,
        *,
        where: Filter | None = None,
        with_vectors: bool = False,
    ) -> list[list[Found]]:
        """Return the chunks of the best BM25 score."""
        everything = self._where(name, None)
        words = [Counter(_WORD.findall(chunk.content.lower())) for chunk, _ in everything]
        mean = sum(count.total() for count in words) / max(len(words), 1)
        documents = Counter(word for count in words for word in count)
        results = []
        for text in texts:
            found = []
            for (chunk, vector), count in zip(everything, words, strict=True):
                if where is not None and not where.holds(chunk):
                    continue
                score = 0.0
                for word in _WORD.findall(text.lower()):
                    seen = documents[word]
                    rarity = math.log(1 + (len(words) - seen + 0.5) / (seen + 0.5))
                    length = 1 - _B + _B * count.total() / mean
                    score += rarity * count[word] * (_K1 + 1) / (count[word] + _K1 * length)
                if score > 0:
                    found.append(Found(chunk, score, vector if with_vectors else None))
            results.append(sorted(found, key=lambda one: -one.score)[:k])
        return results

    def flush(self, name: str) -> None:
        """Do nothing: everything is at hand."""
        self._get(name)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _get(self, name: str) -> _Collection:
        if name not in self._collections:
            raise CollectionNotFound(f"collection {name} does not exist")
        return self._collections[name]

    def _where(self, name: str, where: Filter | None) -> list[tuple[Chunk, Vectors]]:
        rows = self._get(name).rows.values()
        return [row for row in rows if where is None or where.holds(row[0])]


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit
