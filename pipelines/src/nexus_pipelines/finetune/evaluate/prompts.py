"""What a releasable unit is asked for one golden item: what the gateway would ask.  Pure.

The gateway searches and drops what is not relevant before it builds a prompt; here the passages
are frozen in the item, so all of them stand for what was found.  The rest is the gateway's own.
"""

from collections.abc import Callable

from nexus_api.release import ReleasableUnit
from nexus_evaluation.golden import GoldenItem
from nexus_knowledge.prompting.messages import Messages, Question
from nexus_knowledge.prompting.prompt import build, texts_to_count
from nexus_knowledge.retrieval import Hit

CountTokens = Callable[[list[str]], Callable[[str], int]]
"""Counts the tokens of texts at once; gives a function for their lengths and that of others."""


def messages_for(item: GoldenItem, unit: ReleasableUnit, counting: CountTokens) -> Messages:
    """Return the messages of an item's question.

    Raises:
        nexus_knowledge.errors.QuestionTooLong: the question does not fit `unit.prompt_tokens`.
    """
    asked = {"role": "user", "content": item.question}
    system = unit.prompt or None
    if not item.contexts:
        return [{"role": "system", "content": system}, asked] if system else [asked]
    question = Question(text=item.question, instructions="", before=[], message=asked, after=[])
    hits = _hits(item)
    count = counting(texts_to_count(question, hits, system=system))
    return build(question, hits, system=system, budget=unit.prompt_tokens, count=count).messages


def _hits(item: GoldenItem) -> list[Hit]:
    """Return the frozen passages as hits, each a place of its own."""
    return [
        Hit(
            document=context.document,
            document_id=f"{number}",
            score=1.0,
            text=context.text,
            page=0,
            section="",
            start=0,
            end=len(context.text),
            chunk_id=f"{number}",
        )
        for number, context in enumerate(item.contexts)
    ]
