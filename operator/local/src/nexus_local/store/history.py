"""The latest changes in memory, and the watchers that read them in order."""

import asyncio
import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable
from typing import Literal, NamedTuple, TypeAlias

from nexus_local.store.kinds import Kind
from nexus_operator.cluster.errors import Gone
from nexus_operator.cluster.protocol import Ref, WatchEvent

ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]

KEPT = 4096
"""How many changes can be replayed; a watcher that falls further behind must list again."""


class Change(NamedTuple):
    """One write. version: its resource version; body: the object after it, as JSON."""

    version: int
    type: ChangeType
    ref: Ref
    body: str


Changes: TypeAlias = list[Change]


class History:
    """Changes in the order of their resource version; belongs to one event loop.

    It starts empty with each process: watchers that held on across a restart list again, as
    they must after a compaction of the API server.
    """

    def __init__(self, version: int, kept: int = KEPT) -> None:
        """Begin after `version`, which is that of the last write so far."""
        self._kept = kept
        self._floor = version
        self._changes: list[Change] = []
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._closed = False

    def publish(self, changes: Iterable[Change]) -> None:
        """Add durable changes, in order, and wake who watches their kinds."""
        for change in changes:
            self._changes.append(change)
            for waiting in self._waiting.get(change.ref[:2], ()):
                waiting.set()
        if len(self._changes) > 2 * self._kept:
            surplus = len(self._changes) - self._kept
            self._floor = self._changes[surplus - 1].version
            del self._changes[:surplus]

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    async def follow(
        self, kind: Kind, namespace: str | None, version: int
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happened to one kind after `version`, for ever; raises Gone when too old."""
        wake = asyncio.Event()
        key = (kind.api_version, kind.name)
        self._waiting.setdefault(key, set()).add(wake)
        try:
            while not self._closed:
                wake.clear()
                for change in self._after(version):
                    version = change.version
                    wanted = change.ref[:2] == key and namespace in {None, change.ref.namespace}
                    if wanted:
                        yield WatchEvent(change.type, json.loads(change.body))
                await wake.wait()
        finally:
            self._waiting[key].discard(wake)

    def _after(self, version: int) -> list[Change]:
        if version < self._floor:
            raise Gone(
                f"resource version {version} is too old (the oldest kept is {self._floor}); "
                "list again and watch from there"
            )
        start = bisect_right(self._changes, version, key=lambda change: change.version)
        return self._changes[start:]
