"""What a releasable unit is asked for one golden item: what the gateway would ask.  Pure.

The gateway searches and drops what is not relevant before it builds a prompt; here the passages
are frozen in the item, so all of them stand for what was found.  The rest is the gateway's own.
"""

from collections.abc import Callable

from nexus_api.release import ReleasableUnit
from nexus_evaluation.golden import GoldenItem
from nexus_knowledge.prompting.messages import Messages
from nexus_knowledge.prompting.prompt import build, texts_to_count
from nexus_pipelines.finetune.frozen import bare_question, frozen_hits

CountTokens = Callable[[list[str]], Callable[[str], int]]
"""Counts the tokens of texts at once; gives a function for their lengths and that of others."""


def messages_for(item: GoldenItem, unit: ReleasableUnit, counting: CountTokens) -> Messages:
    """Return the messages of an item's question.

    Raises:
        nexus_knowledge.errors.QuestionTooLong: the question does not fit `unit.prompt_tokens`.
    """
    system = unit.prompt or None
    if not item.contexts:
        asked = {"role": "user", "content": item.question}
        return [{"role": "system", "content": system}, asked] if system else [asked]
    question = bare_question(item.question)
    hits = frozen_hits((context.document, context.text) for context in item.contexts)
    count = counting(texts_to_count(question, hits, system=system))
    return build(question, hits, system=system, budget=unit.prompt_tokens, count=count).messages
