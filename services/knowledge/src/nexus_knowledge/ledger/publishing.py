"""Ingesting and publishing: versions become ready, then live, all in one transaction each."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_knowledge.errors import IndexGone
from nexus_knowledge.ledger.counting import counts_of
from nexus_knowledge.ledger.database import Database
from nexus_knowledge.ledger.failures import transaction
from nexus_knowledge.ledger.tables import (
    DocumentRow,
    GarbageRow,
    IndexRow,
    VersionRow,
    VersionState,
)
from nexus_knowledge.ledger.types import (
    DocumentState,
    Failed,
    Published,
    Ready,
    Settled,
    WorkItem,
)
from nexus_knowledge.ledger.versions import go_live, retire, retire_collection

_BATCH = 500  # values in one IN list


class Publishing(Database):
    """The second and third step of a sync."""

    def still_wanted(self, tenant: str, index: str, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Return the items that still have to be ingested: a repeated shard skips the others."""
        with self._read() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return []
            staged = set(
                session.execute(
                    select(VersionRow.document_id, VersionRow.generation).where(
                        VersionRow.index_id == row.id, VersionRow.state == VersionState.STAGED
                    )
                )
            )
        return [item for item in items if (item.document_id, item.generation) in staged]

    @transaction
    def settle(
        self,
        tenant: str,
        index: str,
        outcomes: Sequence[Ready | Failed],
        *,
        collection: str,
    ) -> list[Settled]:
        """Record what became of versions whose chunks went to ``collection``.

        Call it with ``Ready`` only after the chunks are written and counted.  Where the document
        has moved on, whatever was written becomes garbage.  Repeating the call is fine.
        """
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return [Settled.SUPERSEDED for _ in outcomes]
            versions = _versions(session, [outcome.document_id for outcome in outcomes])
            return [
                self._settle(session, row, outcome, collection, versions) for outcome in outcomes
            ]

    @transaction
    def publish(self, tenant: str, index: str, uid: str, *, collection: str) -> Published:
        """Make every ready version of ``collection`` live, all at once.

        A collection that is not the active one takes its place only when every document is ready
        or has failed; until then ``waiting`` says how many are missing.  A document that failed
        in the new collection is not cited any more, since its old chunks go with the old one.
        Raises ``IndexGone``.
        """
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None or row.tearing_down or row.uid != uid:
                raise IndexGone(f"index {tenant}/{index} is gone, or another resource owns it")
            flipped = waiting = 0
            superseded = collection != row.wanted_collection
            if superseded and collection != row.active_collection:
                # A late run may have made it anew after it was dropped.
                session.add(GarbageRow(index_id=row.id, collection=collection))
            switched = not superseded and collection != row.active_collection
            if switched:
                waiting = _waiting(session, row, collection)
                switched = waiting == 0
            if switched:
                _leave_active(session, row)
            if not superseded and not waiting:
                flipped = self._flip(session, row, collection)
            if flipped or switched:
                row.revision += 1
            session.flush()
            return Published(
                superseded=superseded,
                waiting=waiting,
                flipped=flipped,
                switched=switched,
                collection=row.active_collection,
                fingerprint=row.active_fingerprint,
                counts=counts_of(session, row.id),
            )

    def _settle(
        self,
        session: Session,
        index: IndexRow,
        outcome: Ready | Failed,
        collection: str,
        versions: dict[tuple[str, int], VersionRow],
    ) -> Settled:
        key = (outcome.document_id, outcome.generation)
        version = versions.get(key)
        if version is None:
            # A late writer may have written, or made the collection anew, after its garbage was
            # collected: queue it again.
            wanted = collection in {index.wanted_collection, index.active_collection}
            session.add(
                GarbageRow(
                    index_id=index.id,
                    collection=collection,
                    document_id=outcome.document_id if wanted else None,
                    generation=outcome.generation if wanted else None,
                )
            )
            return Settled.SUPERSEDED
        if version.state == VersionState.STAGED:
            if isinstance(outcome, Ready):
                version.state = VersionState.READY
                version.chunks, version.pages = outcome.chunks, outcome.pages
                version.title = outcome.title
            else:
                self._fail(session, version, outcome)
                del versions[key]
        return Settled.ACCEPTED

    def _fail(self, session: Session, version: VersionRow, outcome: Failed) -> None:
        document = session.get_one(DocumentRow, version.document_id)
        document.pending_generation = None
        document.failed_etag, document.failed_attempt = version.etag, version.attempt
        document.reason, document.message = outcome.reason, outcome.message
        document.updated_at = self._clock()
        newer = document.etag != version.etag or document.again
        document.state = DocumentState.PENDING if newer else DocumentState.FAILED
        retire(session, version)

    def _flip(self, session: Session, index: IndexRow, collection: str) -> int:
        now = self._clock()
        chosen = (
            VersionRow.index_id == index.id,
            VersionRow.collection == collection,
            VersionRow.state == VersionState.READY,
        )
        ready = session.execute(
            select(VersionRow, DocumentRow)
            .join(DocumentRow, DocumentRow.document_id == VersionRow.document_id)
            .where(*chosen)
        ).all()
        # Those that make room are held in memory: asked for one by one, each would be a question
        # to a server that may be far away, while the index is locked.
        before = session.scalars(
            select(VersionRow).where(
                VersionRow.state == VersionState.LIVE,
                VersionRow.document_id.in_(select(VersionRow.document_id).where(*chosen)),
            )
        ).all()
        with session.no_autoflush:
            for version, document in ready:
                go_live(session, document, version, now)
        del before
        return len(ready)


def _versions(session: Session, documents: Sequence[str]) -> dict[tuple[str, int], VersionRow]:
    """Read all versions of documents with few queries."""
    found: dict[tuple[str, int], VersionRow] = {}
    for first in range(0, len(documents), _BATCH):
        wanted = VersionRow.document_id.in_(documents[first : first + _BATCH])
        for row in session.scalars(select(VersionRow).where(wanted)):
            found[row.document_id, row.generation] = row
    return found


def _waiting(session: Session, index: IndexRow, collection: str) -> int:
    """Count the documents for which a new collection is not complete."""
    versions = select(VersionRow.document_id, VersionRow.state).where(
        VersionRow.index_id == index.id, VersionRow.collection == collection
    )
    states = dict(session.execute(versions).all())
    # Cited now, neither ready nor failed: it would silently drop out.
    cited = select(DocumentRow.document_id).where(
        DocumentRow.index_id == index.id,
        DocumentRow.live_generation.is_not(None),
        DocumentRow.state != DocumentState.FAILED,
    )
    missing = sum(states.get(name) is None for name in session.scalars(cited))
    return missing + sum(state == VersionState.STAGED for state in states.values())


def _leave_active(session: Session, index: IndexRow) -> None:
    """Give up the active collection and put the wanted one in its place."""
    if index.active_collection is not None:
        retire_collection(session, index, index.active_collection)
    documents = select(DocumentRow).where(
        DocumentRow.index_id == index.id, DocumentRow.live_generation.is_not(None)
    )
    for document in session.scalars(documents):
        document.live_generation = None
        document.chunks = 0
    index.active_collection = index.wanted_collection
    index.active_fingerprint = index.wanted_fingerprint
