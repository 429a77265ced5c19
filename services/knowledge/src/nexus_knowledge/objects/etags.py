"""Content hashes of files, remembered so that an unchanged file is read once only."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20
# A file changed again within one tick of the file system's clock keeps its mtime: only a hash
# taken this long after the last change is remembered.
_SETTLED = 2.0  # seconds
_Entry = tuple[int, int, int, str]  # size, mtime (ns), inode, etag


class EtagCache:
    """Hashes by path, valid while size, mtime and inode stay.  Shared by processes.

    It is a cache: when its database is damaged or locked, files are hashed again.
    """

    def __init__(self, database: Path) -> None:
        """Use the SQLite file ``database``, made at first use."""
        self._database = database
        self._known: dict[str, _Entry] = {}
        self._fresh: dict[str, _Entry] = {}

    def etag(self, path: Path) -> tuple[str, os.stat_result]:
        """Return a file's hash and the state that it was taken in.  Raises ``OSError``."""
        name = os.fspath(path)
        with path.open("rb") as stream:
            state = os.fstat(stream.fileno())
            identity = (state.st_size, state.st_mtime_ns, state.st_ino)
            found = self._known.get(name)
            if found is not None and found[:3] == identity:
                return found[3], state
            etag = _hash(stream)
        if time.time() - state.st_mtime > _SETTLED:
            self._known[name] = self._fresh[name] = (*identity, etag)
        return etag, state

    def load(self) -> None:
        """Read what other processes remembered: worth it before a listing."""
        with suppress(sqlite3.Error, OSError), self._connection() as database:
            rows = database.execute("SELECT name, size, mtime, inode, etag FROM etags")
            self._known = {name: (size, at, inode, tag) for name, size, at, inode, tag in rows}

    def save(self) -> None:
        """Write what this process learnt."""
        if not self._fresh:
            return
        rows = [(name, *entry) for name, entry in self._fresh.items()]
        self._fresh = {}
        with suppress(sqlite3.Error, OSError), self._connection() as database:
            database.executemany("INSERT OR REPLACE INTO etags VALUES (?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._database, timeout=5.0)) as database:
            database.execute("PRAGMA synchronous=OFF")
            database.execute(
                "CREATE TABLE IF NOT EXISTS etags (name TEXT PRIMARY KEY, size INTEGER,"
                " mtime INTEGER, inode INTEGER, etag TEXT) WITHOUT ROWID"
            )
            with database:
                yield database


def _hash(stream: BinaryIO) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
