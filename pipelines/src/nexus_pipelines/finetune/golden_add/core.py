"""A corrected answer as a golden item, and the next version of a set.  Pure."""

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from nexus_evaluation.errors import BadGoldenSet
from nexus_evaluation.golden import Context, GoldenItem, GoldenSet, add, from_feedback
from nexus_evaluation.language import language_of
from nexus_evaluation.metrics.declared import facts_held
from nexus_knowledge.ledger import RatedResponse
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.personal import redact
from nexus_pipelines.finetune.select.feedback import correction, passages_of
from nexus_pipelines.finetune.select.poison import broken_rule


class NotPromotable(StepError):
    """What was said about an answer cannot become a golden item; says why."""


def item_of(rated: RatedResponse, *, topic: str = "", facts: Sequence[str] = ()) -> GoldenItem:
    """Make the item: the question, its newest correction, and the passages as they were given.

    Personal data is redacted, as in training examples: a golden set is read by many.

    Raises:
        NotPromotable: nobody corrected the answer, a text looks poisoned, or a fact is none that
            the correction holds.
    """
    response = rated.response
    corrected, _ = correction(rated)
    if not corrected:
        raise NotPromotable(
            f"response {response.response_id!r} has no corrected answer; send one with "
            "POST /v1/feedback first"
        )
    passages = passages_of(rated)
    texts = [response.question, corrected, *(one.text for one in passages)]
    rule = broken_rule(texts)
    if rule:
        raise NotPromotable(f"response {response.response_id!r} looks poisoned: {rule}")
    question, answer, *frozen = (redact(text)[0] for text in texts)
    contexts = [
        Context(document=passage.document, text=text)
        for passage, text in zip(passages, frozen, strict=True)
    ]
    item = from_feedback(
        response_id=response.response_id,
        question=question,
        corrected_answer=answer,
        contexts=contexts,
        language=language_of(f"{question}\n{answer}"),
        topic=topic,
    )
    return _declaring(item, facts)


def _declaring(item: GoldenItem, facts: Sequence[str]) -> GoldenItem:
    """Return the item with these facts; a right answer holds them, and so does the correction."""
    for fact in facts:
        if facts_held(item.references[0], [fact], item.language) < 1.0:
            raise NotPromotable(f"the corrected answer does not hold the fact {fact!r}")
    try:
        return GoldenItem.model_validate({**item.model_dump(), "facts": tuple(facts)})
    except ValidationError as error:
        raise NotPromotable(f"these facts cannot be kept: {error.errors()[0]['msg']}") from None


def extended(
    golden: GoldenSet,
    rated: Sequence[RatedResponse],
    *,
    version: str,
    topic: str = "",
    facts: Sequence[str] = (),
) -> GoldenSet:
    """Return the next version of a set, with the corrected answers at its end.

    facts: what every right answer holds, where it is one corrected answer.

    Raises:
        NotPromotable: one of them cannot be an item, or the set asks it already.
    """
    items = [item_of(one, topic=topic, facts=facts) for one in rated]
    try:
        return add(golden, items, version=version)
    except BadGoldenSet as error:
        raise NotPromotable(str(error)) from error


def missing(wanted: Iterable[str], found: Iterable[RatedResponse]) -> list[str]:
    """Name the answers that are not in the log."""
    known = {one.response.response_id for one in found}
    return [one for one in wanted if one not in known]
