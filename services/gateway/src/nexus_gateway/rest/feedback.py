"""`POST /v1/feedback`: what a person says about an answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints

from nexus_gateway.errors import BadRequest
from nexus_gateway.metrics import RATINGS
from nexus_gateway.rest.context import Reader, Shared
from nexus_knowledge.ledger import Feedback

router = APIRouter(tags=["feedback"])
LONGEST = 32_768
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST)]


class FeedbackRequest(BaseModel):
    """A rating (1 or "up", -1 or "down"), a better answer, a comment: at least one of them."""

    response_id: Annotated[str, Field(min_length=1, max_length=256)]
    rating: Literal[1, -1, "up", "down"] | None = None
    corrected_answer: Text | None = None
    comment: Text | None = None


@router.post("/v1/feedback", status_code=201)
async def give_feedback(request: FeedbackRequest, services: Shared, who: Reader) -> dict[str, Any]:
    """Store feedback; `known` says whether the answer it speaks of was logged."""
    if request.rating is None and not request.corrected_answer and not request.comment:
        raise BadRequest("give a rating, a corrected_answer or a comment", param="rating")
    rating = {"up": 1, "down": -1}.get(str(request.rating), request.rating)
    feedback = Feedback(
        response_id=request.response_id,
        tenant=who.tenant,
        rating=rating if isinstance(rating, int) else None,
        corrected_answer=request.corrected_answer or "",
        comment=request.comment or "",
    )
    await services.answers.flush()
    ledger = services.knowledge.ledger
    of = await services.knowledge.run(lambda: ledger.add_feedback(feedback))
    if of is not None and of.first_rating and feedback.rating is not None:
        services.metrics.feedback.labels(who.tenant, of.model, RATINGS[feedback.rating]).inc()
    return {"response_id": request.response_id, "known": of is not None}
