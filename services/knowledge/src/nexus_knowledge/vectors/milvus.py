"""The vector index on Milvus: a server of it, or the Lite server of one machine."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import CollectionMismatch, VectorError
from nexus_knowledge.filters import Filter
from nexus_knowledge.vectors import Found, Vectors, Version
from nexus_knowledge.vectors.connection import Connection
from nexus_knowledge.vectors.rows import FIELDS, from_row, index_params, schema, to_row
from nexus_knowledge.vectors.slices import slices

_BATCH_BYTES = 8 << 20  # one request; Milvus takes 64 MiB
_ROW_BYTES = 4096  # a usual chunk without its vector
_VERSIONS_AT_ONCE = 50  # in one filter
_log = logging.getLogger(__name__)


class MilvusIndex:
    """Chunks in Milvus collections.  Safe to share by threads.

    Reads are made at consistency level Strong: what a sync has written and counted, every search
    after it sees.
    """

    def __init__(self, uri: str, *, timeout: float) -> None:
        """Name the server; the first call connects.  ``timeout`` in seconds bounds every call."""
        import pymilvus  # noqa: F401 - seconds, spent here and not in the first search

        self._connection = Connection(uri, timeout=timeout)

    def ensure_collection(self, name: str, dimension: int) -> None:
        """Create the collection unless it is there."""
        if not self.has(name):
            try:
                self._call(
                    name, "create_collection", schema=schema(dimension), consistency_level="Strong"
                )
            except VectorError:
                if not self.has(name):  # else another process was faster
                    raise
        held = self._dimension(name)
        if held != dimension:
            raise CollectionMismatch(f"collection {name} has dimension {held}, not {dimension}")
        # One by one, so that a collection whose making was cut short is completed; and without
        # the client's own waiting, which sleeps a second.
        if "sparse" not in self._call(name, "list_indexes"):
            params = index_params(self._dense_index())
            self._call(name, "create_index", index_params=params, sync=False)
        self._call(name, "load_collection")

    def has(self, name: str) -> bool:
        """Say whether the collection exists."""
        return bool(self._call(name, "has_collection"))

    def drop(self, name: str) -> None:
        """Drop a collection."""
        self._call(name, "drop_collection")

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        return sorted(self._connection.call("list_collections"))

    def upsert(self, name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Write chunks, in requests of a bounded size."""
        if vectors.ndim != 2 or len(vectors) != len(chunks):  # noqa: PLR2004 - [n, dim]
            raise VectorError(f"vectors of shape {vectors.shape} for {len(chunks)} chunks")
        at_once = max(1, _BATCH_BYTES // (_ROW_BYTES + 4 * vectors.shape[1]))
        for first in range(0, len(chunks), at_once):
            some = slice(first, first + at_once)
            rows = [
                to_row(chunk, vector)
                for chunk, vector in zip(chunks[some], vectors[some], strict=True)
            ]
            self._call(name, "upsert", data=rows)

    def count(self, name: str) -> int:
        """Return the number of chunks."""
        answer = self._query(name, "", ["count(*)"])
        return int(answer[0]["count(*)"])

    def count_versions(self, name: str, versions: Sequence[Version]) -> dict[Version, int]:
        """Return how many chunks each version has."""
        found: Counter[Version] = Counter()
        for some in _groups(versions):
            documents = ", ".join(sorted({f'"{document}"' for document, _ in some}))
            rows = self._query(name, f"document_id in [{documents}]", ["document_id", "generation"])
            found.update((row["document_id"], row["generation"]) for row in rows)
        return {version: found[version] for version in versions}

    def versions(self, name: str) -> dict[Version, int]:
        """Return every version with its number of chunks."""
        found: Counter[Version] = Counter()
        for wanted in slices(self.count(name)):
            rows = self._query(name, wanted, ["document_id", "generation"])
            found.update((row["document_id"], row["generation"]) for row in rows)
        return dict(found)

    def delete_versions(self, name: str, versions: Sequence[Version]) -> None:
        """Delete the chunks of versions."""
        for some in _groups(versions):
            wanted = " or ".join(
                f'(document_id == "{document}" and generation == {generation})'
                for document, generation in some
            )
            self._call(name, "delete", filter=wanted)

    def search_dense(
        self, name: str, vectors: Vectors, k: int, *, where: Filter | None = None
    ) -> list[list[Found]]:
        """Return the nearest chunks by cosine; one request for all queries."""
        if len(vectors) == 0:
            return []
        rows = [row.tolist() for row in vectors.astype(np.float32)]
        return self._search(name, "dense", rows, k, where, FIELDS)

    def search_bm25(
        self,
        name: str,
        texts: Sequence[str],
        k: int,
        *,
        where: Filter | None = None,
        with_vectors: bool = False,
    ) -> list[list[Found]]:
        """Return the chunks of the best BM25 score; one request for all texts."""
        if not texts:
            return []
        fields = [*FIELDS, "dense"] if with_vectors else FIELDS
        return self._search(name, "sparse", list(texts), k, where, fields)

    def flush(self, name: str) -> None:
        """Move what was written from the write buffer, which is searched slowly, into segments."""
        try:
            self._call(name, "flush")
        except VectorError as error:
            # A server allows one flush in ten seconds, and flushes by itself anyway.
            _log.info("collection %s was not flushed: %s", name, error)

    def close(self) -> None:
        """Give back the connection."""
        self._connection.close()

    def _dense_index(self) -> str:
        """Return the kind of index for dense vectors."""
        # Lite walks all vectors fast, and exactly; it would build its graphs anew at each flush.
        # A server chooses and keeps a graph.
        lite = "lite" in str(self._connection.call("get_server_version")).lower()
        return "FLAT" if lite else "AUTOINDEX"

    def _dimension(self, name: str) -> int:
        described = self._call(name, "describe_collection")
        dense = next(field for field in described["fields"] if field["name"] == "dense")
        return int(dense["params"]["dim"])

    def _query(self, name: str, wanted: str, fields: list[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._call(
            name,
            "query",
            filter=wanted,
            output_fields=fields,
            consistency_level="Strong",
        )
        return rows

    def _search(
        self,
        name: str,
        field: str,
        data: list[Any],
        k: int,
        where: Filter | None,
        fields: list[str],
    ) -> list[list[Found]]:
        answers = self._call(
            name,
            "search",
            data=data,
            anns_field=field,
            limit=k,
            filter="" if where is None else where.expression(),
            output_fields=fields,
            consistency_level="Strong",
        )
        # Lite gives BM25 as a negative distance, a server as a positive one.
        sign = abs if field == "sparse" else float
        return [
            [
                Found(from_row(hit["id"], hit["entity"]), sign(hit["distance"]), _vector(hit))
                for hit in hits
            ]
            for hits in answers
        ]

    def _call(self, name: str, method: str, **arguments: Any) -> Any:
        return self._connection.call(method, name, **arguments)


def _vector(hit: Any) -> Vectors | None:
    dense = hit["entity"].get("dense")
    return None if dense is None else np.asarray(dense, dtype=np.float32)


def _groups(versions: Sequence[Version]) -> Iterator[Sequence[Version]]:
    for first in range(0, len(versions), _VERSIONS_AT_ONCE):
        yield versions[first : first + _VERSIONS_AT_ONCE]
