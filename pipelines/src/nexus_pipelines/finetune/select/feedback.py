"""Rated and corrected answers as training examples.  Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from nexus_knowledge.ledger import RatedResponse
from nexus_pipelines.finetune.select.examples import (
    LONGEST_DOCUMENT,
    MOST_PASSAGES,
    Example,
    Malformed,
    Origin,
    Source,
    asked_with,
    utc_text,
)
from nexus_pipelines.finetune.select.prompts import Asking, Passage


def examples(
    rated: Iterable[RatedResponse],
    left_out: Counter[str],
    asking: Asking,
    *,
    corrected_only: bool = False,
) -> Iterator[Example]:
    """Make an example of each answer: its newest correction, else the praised answer itself.

    What cannot be learnt from is counted in `left_out`: an answer without text, one whose
    correction is blank and that nobody praised, a praised one that found nothing in the documents
    (the model did not write it), and text that is no unicode.
    """
    for one in rated:
        reason = _unusable(one, corrected_only=corrected_only)
        try:
            if not reason:
                yield _example(one, asking)
        except Malformed as error:
            reason = error.reason
        if reason:
            left_out[reason] += 1


def correction(rated: RatedResponse) -> tuple[str, str]:
    """Return the newest correction and when it was given; ("", "") when there is none."""
    for said in rated.feedback:
        if said.corrected_answer.strip():
            when = utc_text(said.created_at) if said.created_at else ""
            return said.corrected_answer.strip(), when
    return "", ""


def passages_of(rated: RatedResponse) -> tuple[Passage, ...]:
    """Return the passages that the answer was given from, in the order of their rank."""
    index = rated.response.index
    return tuple(
        Passage(_place(index, one), str(one["text"]).strip())
        for one in rated.response.passages
        if str(one.get("text") or "").strip()
    )


def _place(index: str, passage: dict[str, Any]) -> str:
    return f"{index}/{passage.get('document') or ''}".strip("/")


def _unusable(rated: RatedResponse, *, corrected_only: bool) -> str:
    response = rated.response
    corrected, _ = correction(rated)
    answer = corrected or response.answer.strip()
    if not answer or not response.question.strip():
        return "EmptyText"
    if not corrected and (corrected_only or not _praised(rated)):
        return "NotGood"  # the ledger takes blanks for a correction
    if not corrected and response.index and not response.passages:
        return "FoundNothing"
    passages = passages_of(rated)
    if len(passages) > MOST_PASSAGES:
        return "BadField"
    if any(len(one.document) > LONGEST_DOCUMENT for one in passages):
        return "BadField"
    texts = [answer, response.question, *(part for one in passages for part in one)]
    return "" if all(_is_unicode(text) for text in texts) else "BadUnicode"


def _praised(rated: RatedResponse) -> bool:
    return sum(one.rating or 0 for one in rated.feedback) > 0


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _example(rated: RatedResponse, asking: Asking) -> Example:
    response, passages = rated.response, passages_of(rated)
    corrected, when = correction(rated)
    question = response.question.strip()
    if not when:
        when = next((utc_text(one.created_at) for one in rated.feedback if one.created_at), "")
    return Example(
        messages=asked_with(question, passages, corrected or response.answer.strip(), asking),
        source=Source.FEEDBACK,
        origin=Origin("response", response.response_id),
        question=question,
        passages=passages,
        document=passages[0].document if passages else "",
        created_at=when,
        corrected=bool(corrected),
    )
