"""A view of what watches delivered: reads that cost no request, of objects in few bytes."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

import orjson

from nexus_api.meta import INDEX_LABEL, JOB_LABEL, MODEL_LABEL, Manifest
from nexus_operator.cluster.passing import Passing
from nexus_operator.cluster.projection import projected
from nexus_operator.cluster.protocol import (
    FIELD_MANAGER,
    Cluster,
    Manifests,
    Ref,
    WatchEvent,
)
from nexus_operator.objects import labels_of, ref_of

DOUBTFUL = timedelta(minutes=10)
"""How long an object counts as known without another word of it."""

OWNER_LABELS = (INDEX_LABEL, MODEL_LABEL, JOB_LABEL)
"""Labels by which children are listed, and therefore found without looking at all of them."""

MOST_GONE = 4096
"""So many deletions of one kind are remembered, the newest."""

Place = tuple[str, str]
"""Namespace and name."""


Owner = tuple[str, str]
"""One of OWNER_LABELS and its value."""


class _Kept(NamedTuple):
    at: float
    version: int
    owners: tuple[Owner, ...]
    body: bytes
    ours: bool
    """Whether it is the answer to a write that nobody else's change can be part of."""


class _Shelf:
    """The objects of one kind."""

    def __init__(self) -> None:
        self.objects: dict[Place, _Kept] = {}
        self.by_owner: defaultdict[Owner, set[Place]] = defaultdict(set)
        self.gone: dict[Place, int] = {}
        self.watched_to = 0
        self.listing: dict[str | None, set[Place]] = {}

    def bury(self, place: Place, version: int) -> None:
        """Note a deletion: what was said of the object before comes late, and is nothing new."""
        self.gone.pop(place, None)
        self.gone[place] = version
        while len(self.gone) > MOST_GONE:
            del self.gone[next(iter(self.gone))]

    def buried(self, place: Place, version: int) -> bool:
        """Return whether the object at that version is known to have been deleted since."""
        return version <= self.gone.get(place, -1)

    def put(self, place: Place, kept: _Kept) -> None:
        self.take(place)
        self.objects[place] = kept
        for owner in kept.owners:
            self.by_owner[owner].add(place)

    def take(self, place: Place) -> _Kept | None:
        kept = self.objects.pop(place, None)
        if kept is not None:
            for owner in kept.owners:
                places = self.by_owner[owner]
                places.discard(place)
                if not places:
                    del self.by_owner[owner]
        return kept


class View(Passing):
    """The Cluster protocol before another: what is watched is read from here, the rest from there.

    Two sorts of kinds.  Of a *complete* kind all labelled objects are here once its watches have
    listed them, so lists are answered from here; of a *single* kind only objects are, for as
    long as they are known.  A `get` that finds nothing here asks the cluster, since an object
    that lost its labels is not here.  Views may be old: plans are made for that, and every write
    to a resource of ours carries the version that was read.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        complete: Iterable[tuple[str, str]] = (),
        single: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Know nothing yet; `complete` kinds answer lists once their watches have listed."""
        super().__init__(cluster)
        self._complete = frozenset(complete)
        self._single = frozenset(single)
        self._shelves: defaultdict[tuple[str, str], _Shelf] = defaultdict(_Shelf)
        self._awaited: defaultdict[tuple[str, str], set[str | None]] = defaultdict(set)

    # -- what watches tell

    def expect(self, api_version: str, kind: str, namespace: str | None) -> None:
        """Say that a watch of this kind and namespace is about to list everything anew."""
        self._awaited[api_version, kind].add(namespace)
        self._shelves[api_version, kind].listing[namespace] = set()

    def give_up(self, api_version: str, kind: str, namespace: str | None) -> None:
        """Say that there is nothing to list: the kind is not installed."""
        self._awaited[api_version, kind].discard(namespace)
        self._shelves.pop((api_version, kind), None)

    def feed(
        self, api_version: str, kind: str, event: WatchEvent, namespace: str | None = None
    ) -> Manifests:
        """Take in a change; return what was found to be gone, when a listing has come to its end.

        `namespace` is that of the watch, None for one of all namespaces.
        """
        shelf = self._shelves[api_version, kind]
        version = _version(event.object)
        if event.type == "BOOKMARK":
            shelf.watched_to = max(shelf.watched_to, version)
            return self._listed(shelf, (api_version, kind), namespace, version)
        place = _place(event.object)
        if namespace in shelf.listing:
            shelf.listing[namespace].add(place)
        else:
            shelf.watched_to = max(shelf.watched_to, version)
        if event.type != "DELETED":
            self._put(shelf, event.object, version)
        elif (kept := shelf.objects.get(place)) is None or kept.version <= version:
            shelf.take(place)
            shelf.bury(place, version)
        return []

    def wrote(self, event: WatchEvent, api_version: str, kind: str) -> bool:
        """Return whether an event, not yet fed, was known when we wrote.

        Only writes count that went out under the version that was read, and creations: the answer
        to others may hold what somebody else has changed.
        """
        if event.type in {"BOOKMARK", "DELETED"}:
            return False
        kept = self._shelves[api_version, kind].objects.get(_place(event.object))
        return kept is not None and kept.ours and _version(event.object) <= kept.version

    def forget(self, ref: Ref) -> None:
        """Read this object from the cluster when it is asked for next.

        One of a complete kind stays: lists would lack it, and no event may ever bring it back.
        """
        if (ref.api_version, ref.kind) in self._complete:
            return
        self._shelves[ref.api_version, ref.kind].take((ref.namespace, ref.name))

    def doubt(self, ref: Ref) -> None:
        """Forget this object if nothing was heard of it for so long that a change may be lost."""
        kept = self._shelves[ref.api_version, ref.kind].objects.get((ref.namespace, ref.name))
        if kept is not None and time.monotonic() - kept.at > DOUBTFUL.total_seconds():
            self.forget(ref)

    def synced(self) -> bool:
        """Return whether all watches that were announced have listed what is there."""
        return not any(self._awaited.values())

    def count(self) -> int:
        """Return the number of objects held."""
        return sum(len(shelf.objects) for shelf in self._shelves.values())

    # -- the protocol

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it is not there."""
        shelf, place = self._shelves[ref.api_version, ref.kind], (ref.namespace, ref.name)
        kept = shelf.objects.get(place)
        if kept is not None:
            return dict(orjson.loads(kept.body))
        found = await self._cluster.get(ref)
        if found is None or shelf.buried(place, _version(found)):
            return None
        if (ref.api_version, ref.kind) in self._single:
            self._put(shelf, found, _version(found))
        return found

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        """Return the objects of one kind, in one namespace or in all, that carry all `labels`."""
        owner = next(iter(_owners(labels or {})), None)
        key = (api_version, kind)
        if owner is None or labels is None or key not in self._complete or self._awaited[key]:
            return await self._cluster.list(api_version, kind, namespace=namespace, labels=labels)
        shelf = self._shelves[key]
        found: Manifests = [
            orjson.loads(shelf.objects[place].body)
            for place in sorted(shelf.by_owner.get(owner, ()))
            if namespace in {None, place[0]}
        ]
        return [one for one in found if labels.items() <= labels_of(one).items()]

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return self._written(await self._cluster.create(manifest), ours=True)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply."""
        return self._written(await self._cluster.apply(manifest, manager=manager, force=force))

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch; an object that cannot be patched as we know it is forgotten."""
        ours = "resourceVersion" in (patch.get("metadata") or {})
        try:
            written = await self._cluster.patch(ref, patch, subresource=subresource)
            return self._written(written, ours=ours)
        except BaseException:
            self.forget(ref)
            raise

    # -- inside

    def _written(self, manifest: Manifest, *, ours: bool = False) -> Manifest:
        """Keep the answer to a write, unless a watch has told of that version already."""
        key = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
        version = _version(manifest)
        shelf = self._shelves.get(key)
        if shelf is None:
            return manifest
        news = key in self._complete and version > shelf.watched_to
        if news or _place(manifest) in shelf.objects:
            self._put(shelf, manifest, version, ours=ours)
        return manifest

    def _put(self, shelf: _Shelf, manifest: Manifest, version: int, *, ours: bool = False) -> None:
        place = _place(manifest)
        before = shelf.objects.get(place)
        if (before is None or before.version < version) and not shelf.buried(place, version):
            slim = projected(manifest)
            owners = tuple(_owners(labels_of(slim)))
            body = orjson.dumps(slim)
            shelf.put(place, _Kept(time.monotonic(), version, owners, body, ours))

    def _listed(
        self, shelf: _Shelf, key: tuple[str, str], namespace: str | None, version: int
    ) -> Manifests:
        there = shelf.listing.pop(namespace, None)
        self._awaited[key].discard(namespace)
        if there is None:
            return []
        # What is newer than the listing was written by us meanwhile.
        lost = [
            place
            for place, kept in shelf.objects.items()
            if namespace in {None, place[0]} and place not in there and kept.version <= version
        ]
        for place in lost:
            shelf.bury(place, version)
        return [orjson.loads(kept.body) for place in lost if (kept := shelf.take(place))]


def _owners(labels: Mapping[str, str]) -> Iterator[Owner]:
    return ((label, labels[label]) for label in OWNER_LABELS if label in labels)


def _place(manifest: Manifest) -> Place:
    ref = ref_of(manifest)
    return ref.namespace, ref.name


def _version(manifest: Manifest) -> int:
    """Return the resource version as the number that it is; they grow over all objects."""
    text = str((manifest.get("metadata") or {}).get("resourceVersion") or "0")
    return int(text) if text.isdecimal() else 0
