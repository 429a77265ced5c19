"""Answers that were given, and what people said about them."""

import logging
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from nexus_knowledge.ledger.database import Database
from nexus_knowledge.ledger.failures import transaction
from nexus_knowledge.ledger.tables import FeedbackRow, ResponseRow
from nexus_knowledge.ledger.types import Feedback, RatedResponse, Response, Reviewed

_log = logging.getLogger(__name__)
_AT_ONCE = 500  # response ids that one query names


class Answers(Database):
    """The response log and feedback."""

    @transaction
    def log_response(self, response: Response) -> None:
        """Store an answer; the same response id again replaces it, but never another tenant's."""
        with self._write() as session:
            held = session.get(ResponseRow, response.response_id)
            if held is not None and held.tenant != response.tenant:
                _log.warning("an answer was not logged: its id is that of another tenant's")
                return
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
                    revision=response.revision,
                    adapter_version=response.adapter_version,
                )
            )

    @transaction
    def add_feedback(self, feedback: Feedback) -> Reviewed | None:
        """Store feedback; return what it speaks of, None for no answer in the tenant's log."""
        with self._write() as session:
            rated_before = session.scalar(
                select(FeedbackRow.id)
                .where(
                    FeedbackRow.response_id == feedback.response_id,
                    FeedbackRow.tenant == feedback.tenant,
                    FeedbackRow.rating.is_not(None),
                )
                .limit(1)
            )
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
            if answered is None or answered.tenant != feedback.tenant:
                return None
            first = feedback.rating is not None and rated_before is None
            return Reviewed(answered.model, first)

    def responses(self, tenant: str, *, limit: int = 100) -> list[Response]:
        """Return a tenant's newest answers, newest first."""
        with self._read() as session:
            rows = session.scalars(
                select(ResponseRow)
                .where(ResponseRow.tenant == tenant)
                .order_by(ResponseRow.created_at.desc())
                .limit(limit)
            )
            return [_response(row) for row in rows]

    def answers_between(
        self,
        tenant: str,
        *,
        model: str,
        since: datetime,
        until: datetime,
        limit: int,
        newest: bool = False,
    ) -> list[Response]:
        """Return answers of ``since <= created_at < until``, the oldest ones first.

        Args:
            tenant: whose.
            model: the served model that gave them, with or without an adapter.
            since: the first moment.
            until: the first moment after.
            limit: at most so many.
            newest: where there are more, those that came last; else those that came first.
        """
        order = (ResponseRow.created_at, ResponseRow.response_id)
        query = (
            select(ResponseRow)
            .where(
                ResponseRow.tenant == tenant,
                _given_by(model),
                ResponseRow.created_at >= since,
                ResponseRow.created_at < until,
            )
            .order_by(*(one.desc() if newest else one for one in order))
            .limit(limit)
        )
        with self._read() as session:
            found = [_response(row) for row in session.scalars(query)]
        return found[::-1] if newest else found

    def first_answer_at(self, tenant: str, *, model: str) -> datetime | None:
        """Return when a model of a tenant gave the oldest answer that is logged."""
        query = select(func.min(ResponseRow.created_at)).where(
            ResponseRow.tenant == tenant, _given_by(model)
        )
        with self._read() as session:
            return session.scalar(query)

    def feedback(self, tenant: str, *, limit: int = 100) -> list[Feedback]:
        """Return a tenant's newest feedback, newest first."""
        with self._read() as session:
            rows = session.scalars(
                select(FeedbackRow)
                .where(FeedbackRow.tenant == tenant)
                .order_by(FeedbackRow.created_at.desc(), FeedbackRow.id.desc())
                .limit(limit)
            )
            return [_feedback(row) for row in rows]

    def rated(
        self,
        tenant: str,
        *,
        model: str,
        until: datetime,
        limit: int,
        corrected_only: bool = False,
    ) -> list[RatedResponse]:
        """Return answers to learn from: corrected, or rated up more often than down.

        Args:
            tenant: whose.
            model: the served model that gave them, with or without an adapter.
            until: what was said later is not looked at.
            limit: at most so many, those that were spoken of last.
            corrected_only: leaves out what was only rated.
        """
        when, corrected = func.max(FeedbackRow.created_at), FeedbackRow.corrected_answer != ""
        useful = func.count().filter(corrected) > 0
        if not corrected_only:
            useful = or_(useful, func.sum(func.coalesce(FeedbackRow.rating, 0)) > 0)
        query = (
            select(FeedbackRow.response_id)
            .join(ResponseRow, ResponseRow.response_id == FeedbackRow.response_id)
            .where(
                FeedbackRow.tenant == tenant,
                ResponseRow.tenant == tenant,
                _given_by(model),
                FeedbackRow.created_at <= until,
            )
            .group_by(FeedbackRow.response_id)
            .having(useful)
            .order_by(when.desc(), FeedbackRow.response_id)
            .limit(limit)
        )
        with self._read() as session:
            ids = list(session.scalars(query))
            return [
                one
                for start in range(0, len(ids), _AT_ONCE)
                for one in _with_feedback(session, tenant, ids[start : start + _AT_ONCE], until)
            ]

    def known_responses(self, tenant: str, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that are still in the tenant's log."""
        with self._read() as session:
            return {
                found
                for start in range(0, len(ids), _AT_ONCE)
                for found in session.scalars(
                    select(ResponseRow.response_id).where(
                        ResponseRow.tenant == tenant,
                        ResponseRow.response_id.in_(ids[start : start + _AT_ONCE]),
                    )
                )
            }

    def rated_response(self, tenant: str, response_id: str) -> RatedResponse | None:
        """Return one answer of the tenant's log with all that was said about it, newest first."""
        with self._read() as session:
            row = session.get(ResponseRow, response_id)
            if row is None or row.tenant != tenant:
                return None
            said = session.scalars(
                select(FeedbackRow)
                .where(FeedbackRow.tenant == tenant, FeedbackRow.response_id == response_id)
                .order_by(FeedbackRow.created_at.desc(), FeedbackRow.id.desc())
            )
            return RatedResponse(_response(row), [_feedback(one) for one in said])

    def _when(self, given: datetime | None) -> datetime:
        return given or self._clock()


def _given_by(model: str) -> ColumnElement[bool]:
    """Select the answers of a served model, with or without an adapter."""
    return or_(
        ResponseRow.model == model,
        ResponseRow.model.startswith(f"{model}:", autoescape=True),
    )


def _with_feedback(
    session: Session, tenant: str, ids: Sequence[str], until: datetime
) -> list[RatedResponse]:
    """Read answers by their ids, in that order, each with what was said until then."""
    rows = session.scalars(select(ResponseRow).where(ResponseRow.response_id.in_(ids)))
    responses = {row.response_id: _response(row) for row in rows}
    said: dict[str, list[Feedback]] = {}
    for row in session.scalars(
        select(FeedbackRow)
        .where(
            FeedbackRow.tenant == tenant,
            FeedbackRow.response_id.in_(ids),
            FeedbackRow.created_at <= until,
        )
        .order_by(FeedbackRow.created_at.desc(), FeedbackRow.id.desc())
    ):
        said.setdefault(row.response_id, []).append(_feedback(row))
    return [RatedResponse(responses[one], said[one]) for one in ids]


def _response(row: ResponseRow) -> Response:
    return Response(
        response_id=row.response_id,
        tenant=row.tenant,
        model=row.model,
        question=row.question,
        answer=row.answer,
        index=row.index,
        passages=row.passages,
        created_at=row.created_at,
        revision=row.revision,
        adapter_version=row.adapter_version,
    )


def _feedback(row: FeedbackRow) -> Feedback:
    return Feedback(
        response_id=row.response_id,
        tenant=row.tenant,
        rating=row.rating,
        corrected_answer=row.corrected_answer,
        comment=row.comment,
        created_at=row.created_at,
    )
