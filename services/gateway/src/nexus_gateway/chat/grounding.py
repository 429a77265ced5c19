"""From a question to a prompt with passages, or to the finding that nothing is relevant."""

from __future__ import annotations

from typing import Any

from nexus_gateway.auth import Principal
from nexus_gateway.chat.answer import Grounding
from nexus_gateway.chat.question import asked_of
from nexus_gateway.chat.relevance import relevant
from nexus_gateway.control.routes import IndexRoute, ModelRoute
from nexus_gateway.errors import BadRequest, GatewayError, NotFound, NotReady
from nexus_gateway.knowledge import Query, QueryTooLong
from nexus_gateway.services import Services
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.messages import Messages, Question
from nexus_knowledge.prompting.prompt import build, texts_to_count
from nexus_knowledge.retrieval import Hit

Json = dict[str, Any]
SHORTENINGS = 6


async def ground(
    services: Services, who: Principal, route: ModelRoute, question: Question, body: Json
) -> tuple[Messages, Grounding]:
    """Retrieve passages for a question and build the prompt within the model's budget.

    No passage in the grounding means that nothing relevant was found, and then no messages.
    Raises BadRequest (what `retrieval` asks for, a question too long), NotReady.
    """
    knowledge = route.resource.spec.knowledge
    if knowledge is None:
        raise GatewayError(f"model {route.name!r} has no knowledge to answer from")
    index = _index(services, who, route)
    asked = asked_of(body)
    spec = index.resource.spec.retrieval
    top_k = asked.top_k or knowledge.top_k or spec.top_k
    mode = asked.mode or spec.mode
    found = await _search(services, index, question.query, mode, top_k)
    hits = relevant(question.query, found, float(spec.min_score))
    collection = index.resource.status.active_collection
    retrieval = {"mode": mode, "top_k": top_k, "collection": collection}
    if not hits:
        services.metrics.nothing_relevant.labels(index.tenant, index.name).inc()
        return [], Grounding(index.name, [], retrieval)
    system = knowledge.prompt.system
    upstream = await services.engines.upstream(route)
    texts = texts_to_count(question, hits, system=system)
    count = await services.tokens.counting(upstream, texts)
    try:
        prompt = build(question, hits, system=system, budget=knowledge.prompt_tokens, count=count)
    except QuestionTooLong as error:
        raise BadRequest(str(error), code="context_length_exceeded", param="messages") from error
    return prompt.messages, Grounding(index.name, prompt.passages, retrieval)


async def _search(
    services: Services, index: IndexRoute, text: str, mode: str, top_k: int
) -> list[Hit]:
    """Search with a question, with its two ends when the embedding model cannot read it whole."""
    for _ in range(SHORTENINGS):
        try:
            return (await services.knowledge.search(index, Query([text], mode, top_k)))[0]
        except QueryTooLong:
            text = ends_of(text)
    return (await services.knowledge.search(index, Query([text], mode, top_k)))[0]


def ends_of(text: str) -> str:
    """Return half of a text: people ask before or after what they paste."""
    quarter = max(1, len(text) // 4)
    return f"{text[:quarter]} {text[-quarter:]}"


def _index(services: Services, who: Principal, route: ModelRoute) -> IndexRoute:
    try:
        return services.index(who, route.index)
    except NotFound:
        raise NotReady(
            f"model {route.name!r} answers from index {route.index!r}, which does not exist",
            retry_after=5,
            code="index_not_found",
        ) from None
