"""Documents as the API sees them: upload, delete, look up, and what may be cited."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_knowledge.errors import DocumentNotFound, IndexGone
from nexus_knowledge.ids import document_id as name_of
from nexus_knowledge.ledger.counting import counts_of
from nexus_knowledge.ledger.database import Database
from nexus_knowledge.ledger.failures import transaction
from nexus_knowledge.ledger.tables import DocumentRow, IndexRow, VersionRow
from nexus_knowledge.ledger.types import (
    Counts,
    Document,
    DocumentPage,
    DocumentState,
    Listed,
    View,
)
from nexus_knowledge.ledger.versions import forget_failure, purge, remove


class Documents(Database):
    """Documents as the API sees them."""

    @transaction
    def register_upload(self, tenant: str, index: str, uploaded: Listed) -> Document:
        """Record an object that the API has just put into the bucket, so that it shows at once.

        The next sync ingests it.  Raises ``IndexGone`` while the index is torn down.
        """
        with self._write() as session:
            row = self._index(session, tenant, index)
            if row is None:
                row = IndexRow(tenant=tenant, name=index)
                session.add(row)
                session.flush()
            if row.tearing_down:
                raise IndexGone(f"index {tenant}/{index} is being torn down")
            now = self._clock()
            name = name_of(tenant, index, uploaded.path)
            document = session.get(DocumentRow, name)
            if document is None:
                document = DocumentRow(document_id=name, index_id=row.id, path=uploaded.path)
                document.created_at = now
                session.add(document)
            document.key, document.etag = uploaded.key, uploaded.etag
            document.size, document.modified = uploaded.size, uploaded.modified
            document.tombstone_etag = document.tombstone_modified = None
            document.updated_at = now
            _touch(row, document)
            _after_upload(session, document)
            session.flush()
            return _seen(document)

    @transaction
    def delete_document(
        self,
        tenant: str,
        index: str,
        document_id: str,
        *,
        etag: str | None = None,
        modified: float | None = None,
    ) -> Document:
        """Take a document out: it is never cited from the return on.

        Then delete the object under the returned ``key`` and call ``object_deleted``.  ``etag``
        and ``modified`` are those of the object now (its ``stat``), if there is one: should the
        deletion be cut short, the next sync finishes it, unless someone stored another object.
        Raises ``DocumentNotFound``.
        """
        with self._write() as session:
            row, document = self._get(session, tenant, index, document_id)
            document.tombstone_etag = etag or document.etag
            document.tombstone_modified = modified if modified is not None else document.modified
            _touch(row, document)
            if document.state != DocumentState.DELETING:
                remove(session, row, document, self._clock())
            session.flush()
            return _seen(document)

    @transaction
    def object_deleted(self, tenant: str, index: str, document_id: str) -> None:
        """Record that the object of a deleted document is gone from the bucket."""
        with self._write() as session:
            row = self._index(session, tenant, index)
            document = session.get(DocumentRow, document_id)
            if row is None or document is None or document.state != DocumentState.DELETING:
                return
            document.tombstone_etag = document.tombstone_modified = None
            purge(session, row)

    def document(self, tenant: str, index: str, document_id: str) -> Document:
        """Return one document.  Raises ``DocumentNotFound``."""
        with self._read() as session:
            return _seen(self._get(session, tenant, index, document_id)[1])

    def documents(
        self,
        tenant: str,
        index: str,
        *,
        state: DocumentState | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> DocumentPage:
        """Return documents in the order of their paths, from behind ``after``."""
        with self._read() as session:
            row = self._index(session, tenant, index)
            if row is None:
                return DocumentPage([], None)
            query = select(DocumentRow).where(DocumentRow.index_id == row.id)
            if state is not None:
                query = query.where(DocumentRow.state == state)
            if after is not None:
                query = query.where(DocumentRow.path > after)
            rows = session.scalars(query.order_by(DocumentRow.path).limit(limit + 1)).all()
            page = [_seen(one) for one in rows[:limit]]
            return DocumentPage(page, page[-1].path if len(rows) > limit else None)

    def counts(self, tenant: str, index: str) -> Counts:
        """Count the documents of an index by state."""
        with self._read() as session:
            row = self._index(session, tenant, index)
            return Counts() if row is None else counts_of(session, row.id)

    def view(self, tenant: str, index: str) -> View | None:
        """Return where searches go now; None before the first publish."""
        with self._read() as session:
            row = self._index(session, tenant, index)
            if row is None or row.active_collection is None:
                return None
            return View(row.active_collection, row.active_fingerprint or "", row.revision)

    def live(
        self, tenant: str, index: str, document_ids: Sequence[str]
    ) -> tuple[int, dict[str, int]]:
        """Return the revision, and the live generation of those documents that may be cited."""
        with self._read() as session:
            found = session.execute(
                select(IndexRow.id, IndexRow.revision).where(
                    IndexRow.tenant == tenant, IndexRow.name == index
                )
            ).one_or_none()
            if found is None:
                return 0, {}
            rows = session.execute(
                select(
                    DocumentRow.document_id, DocumentRow.index_id, DocumentRow.live_generation
                ).where(DocumentRow.document_id.in_(document_ids))
            )
            # Sorted out here: with the index in the query, SQLite walks all of its documents.
            return found.revision, {
                name: live for name, owner, live in rows if owner == found.id and live is not None
            }

    def _get(
        self, session: Session, tenant: str, index: str, document_id: str
    ) -> tuple[IndexRow, DocumentRow]:
        row = self._index(session, tenant, index)
        document = session.get(DocumentRow, document_id)
        if row is None or document is None or document.index_id != row.id:
            raise DocumentNotFound(f"index {tenant}/{index} has no document {document_id!r}")
        return row, document


def _touch(index: IndexRow, document: DocumentRow) -> None:
    """Mark a document so that a listing begun before this does not judge it."""
    index.touches += 1
    document.touched = index.touches


def _after_upload(session: Session, document: DocumentRow) -> None:
    """Decide what an upload changes: bytes that are live already change nothing."""
    live = None
    if document.live_generation is not None:
        live = session.get(VersionRow, (document.document_id, document.live_generation))
    if live is not None and live.etag == document.etag and document.pending_generation is None:
        document.state = DocumentState.PENDING if document.again else DocumentState.INDEXED
    else:
        # A person who sends failing bytes again wants another try.
        document.again = document.again or document.failed_etag == document.etag
        document.state = DocumentState.PENDING
    forget_failure(document)


def _seen(row: DocumentRow) -> Document:
    return Document(
        document_id=row.document_id,
        path=row.path,
        key=row.key,
        state=DocumentState(row.state),
        etag=row.etag,
        size=row.size,
        live_generation=row.live_generation,
        reason=row.reason,
        message=row.message,
        title=row.title,
        pages=row.pages,
        chunks=row.chunks,
        created_at=row.created_at,
        updated_at=row.updated_at,
        indexed_at=row.indexed_at,
    )
