"""From a way to answer to its results on the golden set."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nexus_api.release import ReleasableUnit
from nexus_evaluation.experiment import Arm
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import OVERLAP
from nexus_evaluation.results import ItemResult
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.lengths import estimate
from nexus_pipelines.experiment.matrix.asking import Gateway, QuestionRefused
from nexus_pipelines.experiment.matrix.baseline import best_sentence
from nexus_pipelines.experiment.matrix.plan import BASELINE, Way
from nexus_pipelines.finetune.evaluate.core import Reply, assess
from nexus_pipelines.finetune.evaluate.prompts import messages_for

Answer = Callable[[GoldenItem], str]


def answered(
    way: Way,
    items: Sequence[GoldenItem],
    answer: Answer,
    *,
    group: str,
    clock: Callable[[], float] = time.perf_counter,
) -> Arm:
    """Ask every item one way, and score the answers by every overlap metric.

    A question that is too long has an empty answer, as it would have none in production.
    """
    replies = {}
    for item in items:
        begun = clock()
        try:
            text, refused = answer(item), ""
        except (QuestionRefused, QuestionTooLong) as error:
            text, refused = "", str(error)
        replies[item.id] = Reply(item.id, text, (clock() - begun) * 1000, refused)
    side = assess(items, replies, tuple(OVERLAP), None)
    return arm_of(way, side.results, side.refused, group=group)


def arm_of(
    way: Way, results: tuple[ItemResult, ...], refused: Mapping[str, str], *, group: str
) -> Arm:
    """Return what came of one way to answer; `refused` is why items have no answer, by id."""
    return Arm(
        run=run_name(group, way.number),
        model=way.model or BASELINE,
        prompt=way.prompt.name if way.prompt else "",
        retrieval=way.searches,
        results=results,
        refused=refused,
        baseline="" if way.is_baseline else run_name(group, way.baseline),
    )


def answering(gateway: Gateway, way: Way, system: str, *, max_tokens: int) -> Answer:
    """Return what answers one item that way.

    Args:
        gateway: what is asked.
        way: one way to answer.
        system: its system prompt; empty for none.
        max_tokens: longest answer.
    """
    asked = way.retrieval.asked if way.retrieval else {}

    def search(item: GoldenItem) -> str:
        own = [context.text for context in item.contexts]
        found = gateway.passages(way.index, item.question, asked) if way.index else own
        return best_sentence(item.question, found, item.language)

    def ask(item: GoldenItem) -> str:
        messages = _messages(item, system, searched=bool(way.index))
        return gateway.answer(way.model, messages, asked=asked, max_tokens=max_tokens)

    return search if way.is_baseline else ask


def run_name(group: str, number: int) -> str:
    """Return the name of a run of an experiment, as `nexus diff` takes it."""
    return f"{group}.{number}"


def _messages(item: GoldenItem, system: str, *, searched: bool) -> list[dict[str, Any]]:
    """Return what is sent: the gateway searches, or else the item's own passages come along."""
    if not searched:
        # The base is named for the unit's sake alone: prompts do not depend on it.
        unit = ReleasableUnit(base="pkg://model", prompt=system)
        return list(messages_for(item, unit, lambda _: estimate))
    asked = {"role": "user", "content": item.question}
    return [{"role": "system", "content": system}, asked] if system else [asked]
