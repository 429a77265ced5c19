"""Planning a sync: what the bucket holds against what the ledger knows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_knowledge.errors import IndexGone, ListingOutdated
from nexus_knowledge.ids import document_id
from nexus_knowledge.ledger.database import Database
from nexus_knowledge.ledger.failures import transaction
from nexus_knowledge.ledger.tables import DocumentRow, IndexRow, VersionRow, VersionState
from nexus_knowledge.ledger.types import DocumentState, Listed, SyncPlan, WorkItem
from nexus_knowledge.ledger.versions import (
    choose_collection,
    forget_failure,
    purge,
    remove,
    retire_pending,
)


class Planning(Database):
    """The first step of a sync."""

    @transaction
    def begin_listing(self, tenant: str, index: str, uid: str) -> int:
        """Return the token for ``plan_sync``; call it before the bucket is listed.

        Documents that the API touches after this are left for the next sync, since the listing
        may or may not show what the API did.  ``uid`` is the resource's.
        """
        with self._write() as session:
            row = self._own(session, tenant, index, uid)
            row.touches += 1
            row.listing = row.touches
            return row.touches

    @transaction
    def plan_sync(
        self,
        tenant: str,
        index: str,
        uid: str,
        *,
        fingerprint: str,
        listing: Sequence[Listed],
        token: int,
        limits: str = "",
    ) -> SyncPlan:
        """Compare a whole listing with the ledger and say what has to be ingested.

        A document that vanished is not cited any more when this returns.  Repeating the call
        gives the same generations.  ``limits`` names the parsing limits: documents that failed
        are tried again when they or the fingerprint change.  Raises ``IndexGone``, and
        ``ListingOutdated`` when another listing was begun after this one.
        """
        with self._write() as session:
            row = self._own(session, tenant, index, uid)
            if token != row.listing:
                raise ListingOutdated(
                    f"index {tenant}/{index} was listed again since; this sync is not the last"
                )
            collection = choose_collection(session, row, fingerprint)
            planner = _Planner(
                session, row, collection, f"{fingerprint}/{limits}", token, self._clock()
            )
            planner.load()
            for listed in listing:
                planner.look_at(listed)
            planner.remove_vanished()
            purge(session, row)
            return SyncPlan(
                collection=collection,
                work=planner.work,
                delete_keys=planner.delete_keys,
                unchanged=planner.unchanged,
                removed=planner.removed,
                known_failures=planner.known_failures,
            )

    def _own(self, session: Session, tenant: str, index: str, uid: str) -> IndexRow:
        """Return the row of an index, made or taken over for the resource ``uid``."""
        row = self._index(session, tenant, index)
        if row is None:
            row = IndexRow(tenant=tenant, name=index, uid=uid)
            session.add(row)
            session.flush()
        elif row.tearing_down and row.uid == uid:
            raise IndexGone(f"index {tenant}/{index} is being torn down")
        row.uid, row.tearing_down = uid, False
        return row


@dataclass
class _Planner:
    session: Session
    index: IndexRow
    collection: str
    attempt: str
    token: int
    now: datetime
    work: list[WorkItem] = field(default_factory=list)
    delete_keys: list[str] = field(default_factory=list)
    unchanged: int = 0
    removed: int = 0
    known_failures: int = 0

    def load(self) -> None:
        """Read all documents and versions at once: a query for each would be far slower."""
        documents = select(DocumentRow).where(DocumentRow.index_id == self.index.id)
        self.documents = {row.document_id: row for row in self.session.scalars(documents)}
        versions = select(VersionRow).where(VersionRow.index_id == self.index.id)
        self.versions = {
            (row.document_id, row.generation): row for row in self.session.scalars(versions)
        }
        self.seen: set[str] = set()

    def look_at(self, listed: Listed) -> None:
        """Decide about one object of the listing."""
        name = document_id(self.index.tenant, self.index.name, listed.path)
        self.seen.add(name)
        document = self.documents.get(name)
        if document is None:
            document = self._add(name, listed)
        elif document.touched > self.token:
            return
        elif _is_tombstoned(document, listed):
            self.delete_keys.append(listed.key)
            return
        self._update(document, listed)
        if self._is_known_failure(document):
            self.known_failures += 1
        elif self._is_unchanged(document):
            self.unchanged += 1
        else:
            self._want(document)

    def remove_vanished(self) -> None:
        """Take out the documents that the listing does not show."""
        versions: dict[str, list[VersionRow]] = {}
        for row in self.versions.values():
            versions.setdefault(row.document_id, []).append(row)
        for name, document in self.documents.items():
            if name in self.seen or document.touched > self.token:
                continue
            document.tombstone_etag = document.tombstone_modified = None
            if document.state != DocumentState.DELETING:
                mine = versions.get(name, [])
                remove(self.session, self.index, document, self.now, mine)
                self.removed += 1

    def _add(self, name: str, listed: Listed) -> DocumentRow:
        document = DocumentRow(
            document_id=name,
            index_id=self.index.id,
            path=listed.path,
            created_at=self.now,
            again=False,
            reason="",
            message="",
        )
        self.session.add(document)
        return document

    def _update(self, document: DocumentRow, listed: Listed) -> None:
        if (document.key, document.etag) != (listed.key, listed.etag):
            document.updated_at = self.now
        document.key, document.etag = listed.key, listed.etag
        document.size, document.modified = listed.size, listed.modified
        document.tombstone_etag = document.tombstone_modified = None

    def _is_known_failure(self, document: DocumentRow) -> bool:
        known = (document.failed_etag, document.failed_attempt) == (document.etag, self.attempt)
        if not known or document.again:
            return False
        retire_pending(self.session, document)
        document.state = DocumentState.FAILED
        return True

    def _is_unchanged(self, document: DocumentRow) -> bool:
        if document.again or document.live_generation is None:
            return False
        live = self.versions.get((document.document_id, document.live_generation))
        if live is None or (live.etag, live.collection) != (document.etag, self.collection):
            return False
        retire_pending(self.session, document)
        forget_failure(document)
        document.state = DocumentState.INDEXED
        return True

    def _want(self, document: DocumentRow) -> None:
        """Have the document ingested, unless this very version is ready or on its way."""
        pending = self.versions.get((document.document_id, document.pending_generation or 0))
        wanted = (document.etag, self.collection)
        if pending is None or (pending.etag, pending.collection) != wanted or document.again:
            retire_pending(self.session, document)
            pending = self._stage(document)
        pending.attempt = self.attempt
        document.state = DocumentState.PENDING
        forget_failure(document)
        if pending.state == VersionState.STAGED:
            self.work.append(
                WorkItem(
                    document_id=document.document_id,
                    path=document.path,
                    key=document.key,
                    etag=document.etag,
                    size=document.size,
                    generation=pending.generation,
                )
            )

    def _stage(self, document: DocumentRow) -> VersionRow:
        version = VersionRow(
            document_id=document.document_id,
            generation=self.index.next_generation,
            index_id=self.index.id,
            collection=self.collection,
            attempt=self.attempt,
            etag=document.etag,
            state=VersionState.STAGED,
        )
        self.index.next_generation += 1
        self.session.add(version)
        document.pending_generation = version.generation
        document.again = False
        return version


def _is_tombstoned(document: DocumentRow, listed: Listed) -> bool:
    """Say whether the object is the very one that the API was asked to delete."""
    return (
        document.tombstone_etag == listed.etag
        and listed.modified <= (document.tombstone_modified or 0.0)
    )  # fmt: skip
