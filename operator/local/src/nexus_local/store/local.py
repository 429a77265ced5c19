"""The cluster of one machine: the Cluster protocol over SQLite, owned by one process."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from nexus_api.meta import Manifest
from nexus_local.store import database
from nexus_local.store.history import Changes, History
from nexus_local.store.kinds import kind_of
from nexus_local.store.labels import Selector
from nexus_local.store.lock import OwnerLock
from nexus_local.store.requests import Requests
from nexus_operator.cluster.errors import Gone, Invalid, NotFound, Unavailable
from nexus_operator.cluster.protocol import FIELD_MANAGER, Manifests, Ref, WatchEvent

EXPIRY_LOOK = timedelta(minutes=1)
"""How often, at most, a write also looks for events that have expired."""

_LONGEST_VERSION = 19  # digits of a 64-bit number

_Result = TypeVar("_Result")


Printed: TypeAlias = Callable[[Ref, int], str | None]
"""The last lines that a pod's container printed; None when it printed nothing yet."""


def _now() -> datetime:
    return datetime.now(UTC)


class LocalCluster:
    """Kubernetes objects in one SQLite file.  Contract suite: tests/contract/cluster.

    A write is on disk when its call returns and is seen by reads and watchers from then on.
    Reads run in the caller's thread (well under a millisecond for one object); writes wait for
    the disk in a thread of their own, one after another, so that the event loop goes on.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime] = _now,
        printed: Printed = lambda _pod, _lines: None,
    ) -> None:
        """Open the store, making it when it is new.

        `printed` has the logs of pods, which are the node's and not the store's.
        Raises StoreLockedError when another process has it, StoreDamagedError when unreadable.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._printed = printed
        self._lock = OwnerLock(path)
        try:
            self._writer = database.connect(path)
            self._reader = database.connect(path)
        except BaseException:
            self._lock.release()
            raise
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._history = History(database.current_version(self._reader))
        self._expired_at: datetime | None = None
        self._open = True

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it is not there."""
        kind_of(ref.api_version, ref.kind)
        self._check_open()
        row = database.read(self._reader, ref)
        return row.body if row else None

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        """Return the objects of one kind, in one namespace or in all, that carry all `labels`."""
        selector = Selector.equal(labels or {})
        _, found = await self.list_at(api_version, kind, namespace=namespace, selector=selector)
        return found

    async def list_at(
        self, api_version: str, kind: str, *, namespace: str | None, selector: Selector
    ) -> tuple[str, Manifests]:
        """Return the resource version and the selected objects as of it."""
        self._check_open()
        version, bodies = database.read_all(self._reader, kind_of(api_version, kind), namespace)
        found = [json.loads(body) for body in bodies]
        return str(version), [
            manifest
            for manifest in found
            if selector.matches(manifest["metadata"].get("labels") or {})
        ]

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises AlreadyExists or Invalid."""
        return await self._write(lambda requests: requests.create(manifest))

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply: create or merge; what `manager` no longer sends goes away.

        Raises Invalid; Conflict for a stale `metadata.resourceVersion` or `uid`, and without
        `force` for fields that another manager applied differently.
        """
        return await self._write(lambda requests: requests.apply(manifest, manager, force=force))

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or its `status`; raises NotFound, Conflict or Invalid."""
        status = _is_status(subresource)
        return await self._write(lambda requests: requests.patch(ref, patch, status=status))

    async def replace(self, ref: Ref, manifest: Manifest, *, subresource: str = "") -> Manifest:
        """Put the object (or its `status`) in place; raises NotFound, Conflict or Invalid."""
        status = _is_status(subresource)
        return await self._write(lambda requests: requests.replace(ref, manifest, status=status))

    async def delete(self, ref: Ref, *, uid: str | None = None, version: str | None = None) -> None:
        """Delete in the background; deleting what is not there is fine.

        Raises Conflict for another uid or resource version than the ones given.
        """
        await self._write(lambda requests: requests.delete(ref, uid=uid, version=version))

    async def log(self, pod: Ref, *, container: str, lines: int) -> str:
        """Return the last lines that a pod's only container printed; raises NotFound or Invalid."""
        if await self.get(pod) is None:
            raise NotFound(f"{pod} is not there")
        found = await asyncio.to_thread(self._printed, pod, lines)
        if found is None:
            raise Invalid(f"container {container} of {pod} is waiting to start")
        return found

    async def ask(self, url: str) -> bytes:
        """Ask nobody: processes here have no addresses of their own.  Raises Unavailable."""
        raise Unavailable(f"{url}: pods of this platform are not asked")

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes until the store closes; raises Gone when `since` has been compacted.

        Without `since` it starts with ADDED for everything there, then one BOOKMARK.
        """
        found = kind_of(api_version, kind)
        self._check_open()
        if since is None:
            start, bodies = database.read_all(self._reader, found, namespace)
            for body in bodies:
                yield WatchEvent("ADDED", json.loads(body))
            metadata = {"resourceVersion": str(start)}
            bookmark = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
            yield WatchEvent("BOOKMARK", bookmark)
        else:
            start = self._known(since)
        async for event in self._history.follow(found, namespace, start):
            yield event

    def close(self) -> None:
        """End all watches, finish writes under way and give the store up."""
        if not self._open:
            return
        self._open = False
        self._history.close()
        self._thread.shutdown(wait=True)
        self._reader.close()
        self._writer.close()
        self._lock.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _known(self, since: str) -> int:
        if not since.isdecimal() or len(since) > _LONGEST_VERSION:
            raise Invalid(f"resourceVersion: Invalid value: {since!r}: must be a number")
        last = database.current_version(self._reader)
        if int(since) > last:
            raise Gone(f"resource version {since} is not known here (the last is {last})")
        return int(since)

    def _check_open(self) -> None:
        if not self._open:
            raise Unavailable("the store is closed")

    async def _write(self, request: Callable[[Requests], _Result]) -> _Result:
        self._check_open()
        loop = asyncio.get_running_loop()

        def publish(changes: Changes) -> None:
            loop.call_soon_threadsafe(self._history.publish, changes)

        return await loop.run_in_executor(self._thread, self._commit, request, publish)

    def _commit(
        self, request: Callable[[Requests], _Result], publish: Callable[[Changes], None]
    ) -> _Result:
        """Run one request to its end, also when the caller has stopped waiting for it."""
        now = self._clock()
        try:
            with database.transaction(self._writer) as transaction:
                requests = Requests(transaction, now)
                result = request(requests)
                if transaction.changes and self._expiry_due(now):
                    requests.expire_events()
        except sqlite3.Error as error:
            raise Unavailable(f"the store could not be written: {error}") from error
        if transaction.changes:
            publish(transaction.changes)
        return result

    def _expiry_due(self, now: datetime) -> bool:
        last = self._expired_at
        if last is not None and timedelta(0) <= now - last < EXPIRY_LOOK:
            return False
        self._expired_at = now
        return True


def _is_status(subresource: str) -> bool:
    if subresource not in {"", "status"}:
        raise Invalid(f"subresource {subresource!r} is not offered; there is only status")
    return bool(subresource)
