"""How documents and versions change: the few moves that every part of the protocol is made of."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from nexus_knowledge.ids import new_collection_name
from nexus_knowledge.ledger.tables import (
    DocumentRow,
    GarbageRow,
    IndexRow,
    VersionRow,
    VersionState,
)
from nexus_knowledge.ledger.types import DocumentState


def retire(session: Session, version: VersionRow) -> None:
    """Give up a version: its chunks, written or not, become garbage."""
    session.add(
        GarbageRow(
            index_id=version.index_id,
            collection=version.collection,
            document_id=version.document_id,
            generation=version.generation,
        )
    )
    session.delete(version)


def retire_pending(session: Session, document: DocumentRow) -> None:
    """Give up what is being built of a document; what is live stays."""
    if document.pending_generation is not None:
        version = session.get(VersionRow, (document.document_id, document.pending_generation))
        document.pending_generation = None
        if version is not None:
            retire(session, version)


def versions_of(session: Session, index: IndexRow) -> dict[str, list[VersionRow]]:
    """Read the versions of all documents of an index at once, by document."""
    found: dict[str, list[VersionRow]] = {}
    for row in session.scalars(select(VersionRow).where(VersionRow.index_id == index.id)):
        found.setdefault(row.document_id, []).append(row)
    return found


def remove(
    session: Session,
    index: IndexRow,
    document: DocumentRow,
    now: datetime,
    versions: Iterable[VersionRow] | None = None,
) -> None:
    """Take a document out: not cited from this transaction on, its chunks garbage.

    ``versions`` are all of the document's, where the caller has read them for many at once.
    """
    if document.live_generation is not None:
        index.revision += 1
    document.state = DocumentState.DELETING
    document.pending_generation = document.live_generation = None
    document.again = False
    document.chunks = 0
    document.updated_at = now
    forget_failure(document)
    if versions is None:
        mine = VersionRow.document_id == document.document_id
        versions = session.scalars(select(VersionRow).where(mine))
    for version in versions:
        retire(session, version)


def purge(session: Session, index: IndexRow) -> None:
    """Forget documents that are deleted and of which nothing is left to clean up."""
    session.flush()
    left = exists().where(
        GarbageRow.index_id == index.id, GarbageRow.document_id == DocumentRow.document_id
    )
    session.execute(
        delete(DocumentRow)
        .where(
            DocumentRow.index_id == index.id,
            DocumentRow.state == DocumentState.DELETING,
            DocumentRow.tombstone_etag.is_(None),
            ~left,
        )
        .execution_options(synchronize_session=False)
    )


def forget_failure(document: DocumentRow) -> None:
    """Clear what a failed attempt left on a document."""
    document.failed_etag = document.failed_attempt = None
    document.reason = document.message = ""


def go_live(session: Session, document: DocumentRow, version: VersionRow, now: datetime) -> None:
    """Make a ready version the one that may be cited; the one before becomes garbage."""
    if document.live_generation is not None:
        before = session.get(VersionRow, (document.document_id, document.live_generation))
        if before is not None:
            retire(session, before)
    version.state = VersionState.LIVE
    document.live_generation = version.generation
    document.pending_generation = None
    document.title, document.pages = version.title, version.pages
    document.chunks = version.chunks
    document.indexed_at = document.updated_at = now
    # The API may have stored newer bytes meanwhile: those are still to come.
    newer = document.etag != version.etag or document.again
    document.state = DocumentState.PENDING if newer else DocumentState.INDEXED


def retire_collection(session: Session, index: IndexRow, collection: str) -> None:
    """Give up a whole collection: one piece of garbage stands for all that is in it."""
    session.flush()
    for table in (VersionRow, GarbageRow):
        session.execute(
            delete(table)
            .where(table.index_id == index.id, table.collection == collection)
            .execution_options(synchronize_session="fetch")
        )
    session.add(GarbageRow(index_id=index.id, collection=collection))


def choose_collection(session: Session, index: IndexRow, fingerprint: str) -> str:
    """Return the collection for a fingerprint: the active one, the one in building, a new one."""
    if index.wanted_collection is not None and index.wanted_fingerprint == fingerprint:
        return index.wanted_collection
    if index.wanted_collection not in {None, index.active_collection}:
        retire_collection(session, index, str(index.wanted_collection))
    if index.active_collection is not None and index.active_fingerprint == fingerprint:
        index.wanted_collection = index.active_collection
    else:
        index.wanted_collection = new_collection_name(index.tenant, index.name)
    index.wanted_fingerprint = fingerprint
    return index.wanted_collection
