"""A small world around the ledger: a bucket, a vector index, a user, and syncs that can crash.

Everything that touches the outside is a generator that yields between any two calls, so that a
test decides who goes next and who dies where.
"""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import (
    CollectionNotFound,
    DocumentNotFound,
    IndexGone,
    ListingOutdated,
)
from nexus_knowledge.ids import chunk_id, document_id
from nexus_knowledge.ledger import (
    DocumentState,
    Failed,
    Ledger,
    Listed,
    Ready,
    SyncPlan,
    WorkItem,
)
from nexus_knowledge.vectors import VectorIndex

TENANT, INDEX = "t", "i"
KEY = (TENANT, INDEX)
Steps = Iterator[str]
BROKEN = "broken"  # content that does not parse


def chunk_count(content: str) -> int:
    return 1 + len(content) % 3


@dataclass
class Bucket:
    """Objects by path; each put has a later time, and the etag is the content."""

    objects: dict[str, tuple[str, float]] = field(default_factory=dict)
    clock: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, path: str, content: str) -> None:
        self.objects[path] = (content, float(next(self.clock)))

    def listed(self, path: str) -> Listed:
        content, modified = self.objects[path]
        return Listed(path, f"{TENANT}/{INDEX}/{path}", content, len(content), modified)


@dataclass
class World:
    ledger: Ledger
    vectors: VectorIndex
    bucket: Bucket = field(default_factory=Bucket)
    fingerprint: str = "f0"
    uid: str = "u0"
    written: int = 0  # chunks, ever

    # --- what the API does

    def upload(self, path: str, content: str) -> Steps:
        self.bucket.put(path, content)
        listed = self.bucket.listed(path)
        yield "stored"
        try:
            self.ledger.register_upload(*KEY, listed)
        except IndexGone:
            return

    def delete(self, path: str) -> Steps:
        name = document_id(TENANT, INDEX, path)
        held = self.bucket.listed(path) if path in self.bucket.objects else None
        yield "looked"
        try:
            self.ledger.delete_document(
                *KEY, name, etag=held and held.etag, modified=held and held.modified
            )
        except DocumentNotFound:
            return
        yield "deleted in the ledger"
        self.bucket.objects.pop(path, None)
        yield "deleted in the bucket"
        self.ledger.object_deleted(*KEY, name)

    # --- what a sync does, as the pipelines do it

    def sync(self) -> Steps:
        try:
            yield from self._sync()
        except (IndexGone, ListingOutdated):
            return  # another sync, or a teardown, has taken over

    def _sync(self) -> Steps:
        fingerprint, uid = self.fingerprint, self.uid
        token = self.ledger.begin_listing(*KEY, uid)
        yield "token"
        listing = [self.bucket.listed(path) for path in sorted(self.bucket.objects)]
        yield "listed"
        plan = self.ledger.plan_sync(
            *KEY, uid, fingerprint=fingerprint, listing=listing, token=token
        )
        yield "planned"
        for key in plan.delete_keys:
            path = key.removeprefix(f"{TENANT}/{INDEX}/")
            held = self.bucket.objects.get(path)
            if held is not None and any(
                one.path == path and one.modified == held[1] for one in listing
            ):
                del self.bucket.objects[path]
            yield "finished a deletion"
        self.vectors.ensure_collection(plan.collection, 2)
        yield "collection"
        yield from self.ingest(plan)
        published = self.ledger.publish(*KEY, uid, collection=plan.collection)
        assert published.waiting >= 0
        yield "published"
        yield from self.collect()

    def ingest(self, plan: SyncPlan) -> Steps:
        for item in self.ledger.still_wanted(*KEY, plan.work):
            held = self.bucket.objects.get(item.path)
            yield "read"
            if held is None or held[0] != item.etag:
                continue  # changed since: the next sync sees it
            if held[0].startswith(BROKEN):
                outcome: Ready | Failed = Failed(
                    item.document_id, item.generation, "Corrupt", "cannot be read"
                )
            else:
                number = chunk_count(held[0])
                for ordinal in range(number):
                    self.write(plan.collection, item, held[0], ordinal)
                    yield "chunk"
                version = (item.document_id, item.generation)
                try:
                    counted = self.vectors.count_versions(plan.collection, [version])[version]
                except CollectionNotFound:
                    return
                yield "counted"
                if counted != number:
                    # Someone took it for garbage meanwhile: leave nothing behind.
                    self.vectors.delete_versions(plan.collection, [version])
                    continue
                outcome = Ready(item.document_id, item.generation, number)
            self.ledger.settle(*KEY, [outcome], collection=plan.collection)
            yield "settled"

    def write(self, collection: str, item: WorkItem, content: str, ordinal: int) -> None:
        one = Chunk(
            chunk_id=chunk_id(TENANT, INDEX, item.document_id, item.generation, ordinal),
            document_id=item.document_id,
            document=item.path,
            generation=item.generation,
            ordinal=ordinal,
            text=content,
            start=0,
            end=len(content),
        )
        try:
            self.vectors.upsert(collection, [one], np.ones((1, 2), dtype=np.float32))
            self.written += 1
        except CollectionNotFound:
            return

    def collect(self) -> Steps:
        while pieces := self.ledger.garbage(*KEY, limit=2):
            for piece in pieces:
                if piece.document_id is None:
                    self.vectors.drop(piece.collection)
                else:
                    version = (piece.document_id, piece.generation or 0)
                    with suppress(CollectionNotFound):
                        self.vectors.delete_versions(piece.collection, [version])
                yield "cleaned"
            self.ledger.garbage_done(*KEY, [piece.id for piece in pieces])
            yield "forgotten"

    def teardown(self) -> Steps:
        uid = self.uid
        if self.ledger.teardown(*KEY, uid):
            yield "torn down"
            yield from self.collect()
            self.ledger.forget(*KEY, uid)

    # --- what a searcher sees

    def visible(self) -> dict[str, list[Chunk]]:
        """Return the chunks that a search may cite now, by path."""
        view = self.ledger.view(*KEY)
        if view is None or not self.vectors.has(view.collection):
            return {}
        found = self.vectors.search_dense(
            view.collection, np.ones((1, 2), dtype=np.float32), 10_000
        )[0]
        chunks = [one.chunk for one in found]
        _, live = self.ledger.live(*KEY, sorted({one.document_id for one in chunks}))
        kept: dict[str, list[Chunk]] = {}
        for one in chunks:
            if live.get(one.document_id) == one.generation:
                kept.setdefault(one.document, []).append(one)
        return kept

    def check(self, ever: dict[str, set[str]]) -> None:
        """What holds at every moment: whole documents, of bytes that were once stored."""
        for path, chunks in self.visible().items():
            contents = {one.text for one in chunks}
            assert len(contents) == 1, f"{path} is a mixture: {contents}"
            (content,) = contents
            assert content in ever[path]
            ordinals = sorted(one.ordinal for one in chunks)
            assert ordinals == list(range(chunk_count(content))), f"{path} is half visible"
        documents = self.ledger.documents(*KEY, limit=1000).documents
        for one in documents:
            if one.state == DocumentState.DELETING:
                assert one.live_generation is None
            if one.live_generation is not None:
                assert one.path in self.visible(), f"{one.path} is live without chunks"

    def check_at_rest(self) -> None:
        """What holds when nothing is left to do: the index is what the bucket is."""
        readable = {
            path: content
            for path, (content, _) in self.bucket.objects.items()
            if not content.startswith(BROKEN)
        }
        view = self.ledger.view(*KEY)
        assert view is not None
        assert view.fingerprint == self.fingerprint
        seen = {path: chunks[0].text for path, chunks in self.visible().items()}
        broken = set(self.bucket.objects) - set(readable)
        assert {path: text for path, text in seen.items() if path not in broken} == readable
        assert self.vectors.collections() == [view.collection]
        assert self.vectors.count(view.collection) == sum(map(chunk_count, seen.values()))
        assert self.ledger.garbage(*KEY) == []
        documents = {one.path: one for one in self.ledger.documents(*KEY, limit=1000).documents}
        assert set(documents) == set(self.bucket.objects)
        for path, one in documents.items():
            state = DocumentState.FAILED if path in broken else DocumentState.INDEXED
            assert one.state == state
            assert bool(one.reason) == (path in broken)
        counts = self.ledger.counts(*KEY)
        assert (counts.indexed, counts.failed) == (len(readable), len(broken))
        assert counts.chunks == self.vectors.count(view.collection)


def finish(steps: Steps) -> None:
    for _ in steps:
        pass
