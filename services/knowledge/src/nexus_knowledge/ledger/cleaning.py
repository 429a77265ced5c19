"""Cleaning up: garbage, repairs, teardown."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from nexus_knowledge.ledger.database import Database
from nexus_knowledge.ledger.failures import transaction
from nexus_knowledge.ledger.tables import (
    DocumentRow,
    GarbageRow,
    IndexRow,
    VersionRow,
    VersionState,
)
from nexus_knowledge.ledger.types import DocumentState, Garbage
from nexus_knowledge.ledger.versions import purge, remove, retire_collection, versions_of

_BATCH = 500  # values in one IN list


class Cleaning(Database):
    """What follows a publish, what mends an index, and what ends it."""

    def garbage(self, tenant: str, index: str, *, limit: int = 200) -> list[Garbage]:
        """Return the oldest garbage.  Delete it in the vector index, then ``garbage_done``."""
        with self._read() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return []
            found = session.scalars(
                select(GarbageRow)
                .where(GarbageRow.index_id == row.id)
                .order_by(GarbageRow.id)
                .limit(limit)
            )
            return [
                Garbage(one.id, one.collection, one.document_id, one.generation) for one in found
            ]

    @transaction
    def garbage_done(self, tenant: str, index: str, ids: Sequence[int]) -> None:
        """Forget garbage that is gone, and documents of which nothing else was left."""
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return
            for first in range(0, len(ids), _BATCH):
                session.execute(
                    delete(GarbageRow).where(
                        GarbageRow.index_id == row.id,
                        GarbageRow.id.in_(ids[first : first + _BATCH]),
                    )
                )
            if not row.tearing_down:
                purge(session, row)

    def expected(
        self, tenant: str, index: str, collection: str
    ) -> dict[tuple[str, int], int | None]:
        """Return the chunks that each (document id, generation) must have in a collection.

        None stands for a version in the making, which may have any number.  What is found beside
        these is an orphan: ``discard`` it.
        """
        with self._read() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return {}
            versions = session.scalars(
                select(VersionRow).where(
                    VersionRow.index_id == row.id, VersionRow.collection == collection
                )
            )
            return {
                (one.document_id, one.generation): (
                    None if one.state == VersionState.STAGED else one.chunks
                )
                for one in versions
            }

    @transaction
    def discard(
        self, tenant: str, index: str, collection: str, versions: Sequence[tuple[str, int]]
    ) -> int:
        """Queue as garbage those of ``versions`` that nobody wants; return how many."""
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return 0
            unwanted = [one for one in versions if session.get(VersionRow, one) is None]
            session.add_all(
                GarbageRow(
                    index_id=row.id, collection=collection, document_id=name, generation=generation
                )
                for name, generation in unwanted
            )
            return len(unwanted)

    @transaction
    def reingest(self, tenant: str, index: str, document_ids: Sequence[str]) -> None:
        """Have the next plan ingest documents again though they are unchanged, or failed."""
        with self._write() as session:
            row = self._index(session, tenant, index)
            for name in document_ids if row is not None else ():
                document = session.get(DocumentRow, name)
                if document is not None and document.state != DocumentState.DELETING:
                    document.again = True
                    document.state = DocumentState.PENDING

    @transaction
    def collection_lost(self, tenant: str, index: str, collection: str) -> bool:
        """Record that a collection's vectors are gone: the next plan builds a new one.

        Nothing of it may be cited from here on.  False when nobody wants the collection anyway.
        """
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None or collection not in {row.active_collection, row.wanted_collection}:
                return False
            retire_collection(session, row, collection)
            if row.wanted_collection == collection:
                row.wanted_collection = row.wanted_fingerprint = None
            if row.active_collection == collection:
                row.active_collection = row.active_fingerprint = None
                row.revision += 1
                live = DocumentRow.live_generation.is_not(None)
                for document in session.scalars(
                    select(DocumentRow).where(DocumentRow.index_id == row.id, live)
                ):
                    document.live_generation = None
                    document.chunks = 0
                    document.state = DocumentState.PENDING
            return True

    @transaction
    def teardown(self, tenant: str, index: str, uid: str) -> bool:
        """End an index: nothing is cited any more and its collections are garbage.

        False when the index is not known, or belongs to a newer resource of the same name.
        """
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None or row.uid not in {uid, ""}:
                return False
            if row.tearing_down:
                return True
            row.uid, row.tearing_down = uid, True
            row.revision += 1
            versions = versions_of(session, row)
            for document in session.scalars(
                select(DocumentRow).where(DocumentRow.index_id == row.id)
            ).all():
                mine = versions.get(document.document_id, [])
                remove(session, row, document, self._clock(), mine)
            for collection in {row.active_collection, row.wanted_collection} - {None}:
                retire_collection(session, row, str(collection))
            row.active_collection = row.active_fingerprint = None
            row.wanted_collection = row.wanted_fingerprint = None
            return True

    @transaction
    def forget(self, tenant: str, index: str, uid: str) -> bool:
        """Remove all rows of a torn-down index; False while garbage is left."""
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None or not row.tearing_down or row.uid != uid:
                return True
            left = select(GarbageRow.id).where(GarbageRow.index_id == row.id).limit(1)
            if session.scalar(left) is not None:
                return False
            for table in (VersionRow, DocumentRow):
                session.execute(delete(table).where(table.index_id == row.id))
            session.execute(delete(IndexRow).where(IndexRow.id == row.id))
            return True
