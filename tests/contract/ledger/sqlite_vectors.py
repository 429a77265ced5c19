"""A vector index in an SQLite file: what it has acknowledged survives SIGKILL."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import CollectionNotFound
from nexus_knowledge.filters import Filter
from nexus_knowledge.vectors import Found, Vectors, Version

_FIELDS = "chunk_id, document_id, document, generation, ordinal, text, start, finish"


class SqliteVectors:
    """Just enough of the protocol for syncs; a dense search finds everything."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY)")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS chunks (name, chunk_id, document_id, document, generation,"
            " ordinal, text, start, finish, PRIMARY KEY (name, chunk_id))"
        )

    def ensure_collection(self, name: str, dimension: int) -> None:
        self._database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,))

    def has(self, name: str) -> bool:
        return name in self.collections()

    def drop(self, name: str) -> None:
        self._database.execute("DELETE FROM names WHERE name = ?", (name,))
        self._database.execute("DELETE FROM chunks WHERE name = ?", (name,))

    def collections(self) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT name FROM names ORDER BY name")]

    def upsert(self, name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        self._check(name)
        for one in chunks:
            row = (one.chunk_id, one.document_id, one.document, one.generation, one.ordinal)
            self._database.execute(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, *row, one.text, one.start, one.end),
            )

    def count(self, name: str) -> int:
        return len(self._chunks(name))

    def count_versions(self, name: str, versions: Sequence[Version]) -> dict[Version, int]:
        held = self.versions(name)
        return {version: held.get(version, 0) for version in versions}

    def versions(self, name: str) -> dict[Version, int]:
        held: dict[Version, int] = {}
        for one in self._chunks(name):
            version = (one.document_id, one.generation)
            held[version] = held.get(version, 0) + 1
        return held

    def delete_versions(self, name: str, versions: Sequence[Version]) -> None:
        self._check(name)
        for version in versions:
            self._database.execute(
                "DELETE FROM chunks WHERE name = ? AND document_id = ? AND generation = ?",
                (name, *version),
            )

    def search_dense(
        self, name: str, vectors: Vectors, k: int, *, where: Filter | None = None
    ) -> list[list[Found]]:
        return [[Found(one, 1.0) for one in self._chunks(name)][:k] for _ in vectors]

    def search_bm25(
        self,
        name: str,
        texts: Sequence[str],
        k: int,
        *,
        where: Filter | None = None,
        with_vectors: bool = False,
    ) -> list[list[Found]]:
        return [[] for _ in texts]

    def flush(self, name: str) -> None:
        self._check(name)

    def close(self) -> None:
        self._database.close()

    def _check(self, name: str) -> None:
        if not self.has(name):
            raise CollectionNotFound(name)

    def _chunks(self, name: str) -> list[Chunk]:
        self._check(name)
        rows = self._database.execute(f"SELECT {_FIELDS} FROM chunks WHERE name = ?", (name,))  # noqa: S608 - no input
        return [Chunk(*row[:6], start=row[6], end=row[7]) for row in rows]
