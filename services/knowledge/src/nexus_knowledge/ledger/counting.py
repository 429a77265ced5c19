"""Counting documents."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nexus_knowledge.ledger.tables import DocumentRow
from nexus_knowledge.ledger.types import Counts, DocumentState


def counts_of(session: Session, index_id: int) -> Counts:
    """Count an index's documents by state, and the chunks that may be cited."""
    rows = session.execute(
        select(DocumentRow.state, func.count(), func.sum(DocumentRow.chunks))
        .where(DocumentRow.index_id == index_id)
        .group_by(DocumentRow.state)
    )
    documents: dict[str, int] = {}
    chunks = 0
    for state, number, sum_of_chunks in rows:
        documents[state] = number
        chunks += int(sum_of_chunks or 0)
    deleting = documents.get(DocumentState.DELETING, 0)
    return Counts(
        total=sum(documents.values()) - deleting,
        indexed=documents.get(DocumentState.INDEXED, 0),
        failed=documents.get(DocumentState.FAILED, 0),
        pending=documents.get(DocumentState.PENDING, 0),
        deleting=deleting,
        chunks=chunks,
    )
