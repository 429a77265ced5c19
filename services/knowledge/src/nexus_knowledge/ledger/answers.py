"""Answers that were given, and what people said about them."""

from datetime import datetime

from sqlalchemy import select

from nexus_knowledge.ledger.database import Database
from nexus_knowledge.ledger.failures import transaction
from nexus_knowledge.ledger.tables import FeedbackRow, ResponseRow
from nexus_knowledge.ledger.types import Feedback, Response


class Answers(Database):
    """The response log and feedback."""

    @transaction
    def log_response(self, response: Response) -> None:
        """Store an answer; the same response id again replaces it."""
        with self._write() as session:
            session.merge(
                ResponseRow(
                    response_id=response.response_id,
                    tenant=response.tenant,
                    model=response.model,
                    index=response.index,
                    question=response.question,
                    answer=response.answer,
                    passages=response.passages,
                    created_at=self._when(response.created_at),
                )
            )

    @transaction
    def add_feedback(self, feedback: Feedback) -> bool:
        """Store feedback; True when the answer that it speaks of is in the tenant's log."""
        with self._write() as session:
            session.add(
                FeedbackRow(
                    response_id=feedback.response_id,
                    tenant=feedback.tenant,
                    rating=feedback.rating,
                    corrected_answer=feedback.corrected_answer,
                    comment=feedback.comment,
                    created_at=self._when(feedback.created_at),
                )
            )
            answered = session.get(ResponseRow, feedback.response_id)
            return answered is not None and answered.tenant == feedback.tenant

    def responses(self, tenant: str, *, limit: int = 100) -> list[Response]:
        """Return a tenant's newest answers, newest first."""
        with self._read() as session:
            rows = session.scalars(
                select(ResponseRow)
                .where(ResponseRow.tenant == tenant)
                .order_by(ResponseRow.created_at.desc())
                .limit(limit)
            )
            return [
                Response(
                    response_id=row.response_id,
                    tenant=row.tenant,
                    model=row.model,
                    question=row.question,
                    answer=row.answer,
                    index=row.index,
                    passages=row.passages,
                    created_at=row.created_at,
                )
                for row in rows
            ]

    def feedback(self, tenant: str, *, limit: int = 100) -> list[Feedback]:
        """Return a tenant's newest feedback, newest first."""
        with self._read() as session:
            rows = session.scalars(
                select(FeedbackRow)
                .where(FeedbackRow.tenant == tenant)
                .order_by(FeedbackRow.created_at.desc(), FeedbackRow.id.desc())
                .limit(limit)
            )
            return [
                Feedback(
                    response_id=row.response_id,
                    tenant=row.tenant,
                    rating=row.rating,
                    corrected_answer=row.corrected_answer,
                    comment=row.comment,
                    created_at=row.created_at,
                )
                for row in rows
            ]

    def _when(self, given: datetime | None) -> datetime:
        return given or self._clock()
