"""`POST /v1/search`: passages for one query or many."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nexus_gateway.chat.question import check_mode, check_top_k
from nexus_gateway.errors import BadRequest
from nexus_gateway.knowledge import Query
from nexus_gateway.rest.context import Reader, Shared
from nexus_knowledge.retrieval import Hit

router = APIRouter(tags=["search"])
Json = dict[str, Any]
MOST_QUERIES = 256

QueryText = Annotated[str, Field(max_length=8192)]


class SearchRequest(BaseModel):
    """What to search where: `query` or `queries`."""

    index: str
    query: QueryText | None = None
    queries: Annotated[list[QueryText], Field(min_length=1, max_length=MOST_QUERIES)] | None = None
    top_k: Any = None
    mode: Any = None
    filter: dict[str, Any] | None = None
    balance: Any = None


@router.post("/v1/search")
async def search(request: SearchRequest, services: Shared, who: Reader) -> Json:
    """Search an index; many queries in one call are batched."""
    if (request.query is None) == (request.queries is None):
        raise BadRequest("give either query or queries", param="query")
    if request.balance is not None:
        raise BadRequest("balance is not offered yet", param="balance", code="not_offered")
    texts = [request.query] if request.query is not None else request.queries or []
    for number, text in enumerate(texts):
        if not text.strip():
            param = "query" if request.query is not None else f"queries[{number}]"
            raise BadRequest(f"{param} is empty", param=param, code="empty_query")
    query = Query(
        texts,
        mode=check_mode(request.mode, "mode"),
        top_k=check_top_k(request.top_k, "top_k"),
        where=request.filter,
    )
    index = services.index(who, request.index)
    results = [
        {"hits": [as_json(hit) for hit in hits]}
        for hits in await services.knowledge.search(index, query)
    ]
    return results[0] if request.query is not None else {"results": results}


def as_json(hit: Hit) -> Json:
    """Return a hit as clients see it; a format without pages or sections has none."""
    return {
        "document": hit.document,
        "document_id": hit.document_id,
        "score": hit.score,
        "dense_score": hit.dense_score,
        "text": hit.text,
        "page": hit.page or None,
        "section": hit.section or None,
        "start": hit.start,
        "end": hit.end,
        "chunk_id": hit.chunk_id,
        "metadata": dict(hit.metadata),
    }
