"""All that happens to the objects of a cluster, seen directly and not through the proxy."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from fault_lab.client import Client, Manifest
from fault_lab.kinds import ALL, CLAIMED_ELSEWHERE, KindPath


class Change(NamedTuple):
    """One change; `version` orders the changes of all kinds."""

    version: int
    type: str
    kind: str
    name: str
    object: Manifest


class Place:
    """What one namespace holds, and all that happened in it."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.history: list[Change] = []
        self.versions: dict[tuple[str, str], int] = {}
        self.alive: set[str] = set()
        """Uids of the objects that are there."""
        self.known: set[str] = set()
        """Uids of all objects that ever were."""
        self.listeners: list[Callable[[], None]] = []

    def take(self, change: Change) -> None:
        """Note a change."""
        key = (change.kind, change.name)
        self.history.append(change)
        self.versions[key] = change.version
        uid = change.object["metadata"]["uid"]
        self.known.add(uid)
        if change.type == "DELETED":
            self.objects.pop(key, None)
            self.alive.discard(uid)
        else:
            self.objects[key] = change.object
            self.alive.add(uid)
        for listener in self.listeners:
            listener()


class Mirror:
    """Watches every kind of `fault_lab.kinds` in all namespaces; an async context manager."""

    def __init__(self, client: Client) -> None:
        """Take the client that watches."""
        self._client = client
        self._tasks: list[asyncio.Task[None]] = []
        self.places: defaultdict[str, Place] = defaultdict(Place)

    async def __aenter__(self) -> Self:
        """Start all watches at the present."""
        for kind in ALL:
            listed = await self._client.get(kind.path())
            since = str(listed["metadata"]["resourceVersion"])
            self._tasks.append(asyncio.create_task(self._follow(kind, since)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all watches; one that had broken raises what broke it."""
        broken = [one for one in self._tasks if one.done()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in broken:
            one.result()

    async def _follow(self, kind: KindPath, since: str) -> None:
        while True:
            async for event in self._client.watch(kind.path(), since):
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch of {kind.kind} broke: {event['object']}")
                metadata = event["object"]["metadata"]
                since = str(metadata["resourceVersion"])
                if event["type"] == "BOOKMARK" or metadata["name"] in CLAIMED_ELSEWHERE:
                    continue
                metadata.pop("managedFields", None)
                found = {"apiVersion": kind.api_version, "kind": kind.kind, **event["object"]}
                change = Change(int(since), event["type"], kind.kind, metadata["name"], found)
                self.places[metadata.get("namespace", "")].take(change)
