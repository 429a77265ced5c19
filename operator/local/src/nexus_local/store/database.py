"""Objects in SQLite: one row for each, one transaction for each write, durable when it returns."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nexus_api.meta import Manifest
from nexus_local.store.errors import StoreDamagedError
from nexus_local.store.fields import Managed
from nexus_local.store.history import Change, ChangeType
from nexus_local.store.kinds import Kind
from nexus_local.store.objects import owner_uids
from nexus_operator.cluster.protocol import Ref

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE objects (
    api_version TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    managed TEXT NOT NULL,
    PRIMARY KEY (api_version, kind, namespace, name)
);
CREATE TABLE owners (
    owner TEXT NOT NULL,
    owned TEXT NOT NULL REFERENCES objects (uid) ON DELETE CASCADE,
    PRIMARY KEY (owner, owned)
);
CREATE INDEX owners_by_owned ON owners (owned);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counters VALUES ('resource_version', 1);
"""
_BUSY_SECONDS = 5.0


class Row(NamedTuple):
    """A stored object and who applied which of its fields."""

    body: Manifest
    managed: Managed


def connect(path: Path) -> sqlite3.Connection:
    """Open the database, making it when it is new; raises StoreDamagedError.

    The caller sees to it that one thread at a time uses the connection.
    """
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _prepare(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreDamagedError(path, str(error)) from error
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
        connection.executescript(script)
    elif version != _SCHEMA_VERSION:
        raise sqlite3.DatabaseError(
            f"it has format {version}, this program reads format {_SCHEMA_VERSION}"
        )


def current_version(connection: sqlite3.Connection) -> int:
    """Return the resource version of the last write."""
    with closing(connection.execute("SELECT value FROM counters")) as rows:
        return int(rows.fetchone()[0])


def read(connection: sqlite3.Connection, ref: Ref) -> Row | None:
    """Return one object, or None when it is not there."""
    sql = (
        "SELECT body, managed FROM objects "
        "WHERE api_version = ? AND kind = ? AND namespace = ? AND name = ?"
    )
    with closing(connection.execute(sql, tuple(ref))) as rows:
        row = rows.fetchone()
    return _row(row) if row else None


def read_all(
    connection: sqlite3.Connection, kind: Kind, namespace: str | None
) -> tuple[int, list[str]]:
    """Return the resource version and, as of it, the bodies of one kind in the order of names."""
    sql = "SELECT body FROM objects WHERE api_version = ? AND kind = ?"
    arguments = [kind.api_version, kind.name]
    if namespace is not None:
        sql += " AND namespace = ?"
        arguments.append(namespace)
    connection.execute("BEGIN")  # one snapshot for both statements
    try:
        version = current_version(connection)
        with closing(connection.execute(sql + " ORDER BY namespace, name", arguments)) as rows:
            return version, [body for (body,) in rows]
    finally:
        connection.execute("COMMIT")


def _row(row: tuple[str, str]) -> Row:
    managed = {
        manager: {tuple(path) for path in paths} for manager, paths in json.loads(row[1]).items()
    }
    return Row(json.loads(row[0]), managed)


def ref_of(manifest: Manifest) -> Ref:
    """Return where a stored object lives."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace", "")
    return Ref(manifest["apiVersion"], manifest["kind"], namespace, metadata["name"])


@dataclass(slots=True)
class Transaction:
    """The writes of one request, with the changes to tell watchers of once they are durable."""

    connection: sqlite3.Connection
    changes: list[Change] = field(default_factory=list)

    def read(self, ref: Ref) -> Row | None:
        """Return one object as this transaction sees it."""
        return read(self.connection, ref)

    def insert(self, manifest: Manifest, managed: Managed) -> Manifest:
        """Store a new object under the next resource version."""
        stored, body = self._stamped("ADDED", manifest)
        self.connection.execute(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*ref_of(stored), stored["metadata"]["uid"], body, _text(managed)),
        )
        self._own(stored)
        return stored

    def update(self, manifest: Manifest, managed: Managed) -> Manifest:
        """Replace an object under the next resource version."""
        stored, body = self._stamped("MODIFIED", manifest)
        uid = stored["metadata"]["uid"]
        self.connection.execute(
            "UPDATE objects SET body = ?, managed = ? WHERE uid = ?", (body, _text(managed), uid)
        )
        self.connection.execute("DELETE FROM owners WHERE owned = ?", (uid,))
        self._own(stored)
        return stored

    def keep_managed(self, manifest: Manifest, managed: Managed) -> None:
        """Record who applied what, without a change to the object itself."""
        self.connection.execute(
            "UPDATE objects SET managed = ? WHERE uid = ?",
            (_text(managed), manifest["metadata"]["uid"]),
        )

    def remove(self, manifest: Manifest) -> None:
        """Take an object out; watchers get it as it was last, under the next resource version."""
        stored, _ = self._stamped("DELETED", manifest)
        self.connection.execute("DELETE FROM objects WHERE uid = ?", (stored["metadata"]["uid"],))

    def owned_by(self, uid: str) -> list[Row]:
        """Return the objects that name `uid` among their owners."""
        sql = (
            "SELECT body, managed FROM owners JOIN objects ON owned = objects.uid "
            "WHERE owner = ? ORDER BY kind, namespace, name"
        )
        return [_row(row) for row in self.connection.execute(sql, (uid,)).fetchall()]

    def is_there(self, uid: str) -> bool:
        """Say whether an object of that uid exists."""
        sql = "SELECT 1 FROM objects WHERE uid = ?"
        return self.connection.execute(sql, (uid,)).fetchone() is not None

    def oldest(self, kind: Kind, keep: int) -> list[Row]:
        """Return the objects of one kind beyond the `keep` that were stored last."""
        sql = (
            "SELECT body, managed FROM objects WHERE api_version = ? AND kind = ? "
            "ORDER BY rowid DESC LIMIT -1 OFFSET ?"
        )
        arguments = (kind.api_version, kind.name, keep)
        return [_row(row) for row in self.connection.execute(sql, arguments).fetchall()]

    def created_before(self, kind: Kind, limit: str) -> list[Row]:
        """Return the objects of one kind that are older than `limit`, a time as Kubernetes has it.

        Reads all of the kind: milliseconds for a thousand.
        """
        sql = (
            "SELECT body, managed FROM objects WHERE api_version = ? AND kind = ? "
            "AND json_extract(body, '$.metadata.creationTimestamp') < ?"
        )
        arguments = (kind.api_version, kind.name, limit)
        return [_row(row) for row in self.connection.execute(sql, arguments).fetchall()]

    def _own(self, stored: Manifest) -> None:
        uid = stored["metadata"]["uid"]
        self.connection.executemany(
            "INSERT INTO owners VALUES (?, ?)", [(owner, uid) for owner in owner_uids(stored)]
        )

    def _stamped(self, change: ChangeType, manifest: Manifest) -> tuple[Manifest, str]:
        version = self.connection.execute(
            "UPDATE counters SET value = value + 1 RETURNING value"
        ).fetchone()[0]
        metadata = {**manifest["metadata"], "resourceVersion": str(version)}
        stored = {**manifest, "metadata": metadata}
        body = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
        self.changes.append(Change(version, change, ref_of(stored), body))
        return stored, body


def _text(managed: Managed) -> str:
    return json.dumps({manager: sorted(paths) for manager, paths in managed.items()})


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[Transaction]:
    """Run one write: committed and on disk when the block ends, undone when it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield Transaction(connection)
    except BaseException:
        if connection.in_transaction:  # of a full disk SQLite has undone the write by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
