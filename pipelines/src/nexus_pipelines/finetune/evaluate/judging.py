"""The judge's scores: what earlier attempts or the other side got is kept, the rest is asked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import GRADED
from nexus_pipelines.finetune.evaluate.core import Reply
from nexus_pipelines.finetune.evaluate.kept import Kept
from nexus_pipelines.finetune.judge.access import Judge
from nexus_pipelines.finetune.judge.process import Judged, judging
from nexus_pipelines.finetune.store import FineTuneStore, inputs_digest

_MAKER = 1
"""Rises when the same case would be judged otherwise."""

_WORD = re.compile(r"\w")


def cases(
    items: Sequence[GoldenItem], replies: Mapping[str, Reply], metrics: frozenset[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield item, metric and case of everything that a judge is to be asked about one side.

    A case is named by what is asked: the same answer of both sides is one case, asked once, so that
    a copy of production differs in nothing, however a judge wavers.  An answer without a word
    states nothing and is nothing to grade: it makes no case but for contextPrecision.
    """
    for item in items:
        passages = {
            "question": item.question,
            "contexts": [context.text for context in item.contexts],
        }
        answer = replies[item.id].answer
        asked = []
        if "contextPrecision" in metrics:
            asked.append({"metric": "contextPrecision", "reference": item.references[0]})
        if _WORD.search(answer):
            asked += [{"metric": one, "answer": answer} for one in _of_answers(metrics)]
        for one in asked:
            case = {**passages, **one}
            named = {"id": inputs_digest(**case), "item": item.id}
            yield item.id, one["metric"], {**named, **case}


def judged_scores(
    store: FineTuneStore,
    judge: Judge,
    items: Sequence[GoldenItem],
    replies: Mapping[str, Reply],
    metrics: frozenset[str],
) -> dict[str, dict[str, float]]:
    """Return a judge's scores of one side, by item and metric.

    Raises:
        nexus_pipelines.errors.StepError: as nexus_pipelines.finetune.judge.process.judging.
    """
    wanted = list(cases(items, replies, metrics))
    asked_with = inputs_digest(maker=_MAKER, url=judge.url, model=judge.model)
    kept = Kept(store, f"judged/{asked_with[:16]}", Judged)
    known = kept.known()
    unknown = {case["id"]: case for _, _, case in wanted if case["id"] not in known}
    if unknown:
        with judging(judge, unknown.values()) as found, kept.keeping():
            for one in found:
                known[one.id] = one
                kept.keep(one)
    scores = {item.id: dict.fromkeys(_of_answers(metrics), 0.0) for item in items}
    for item, metric, case in wanted:
        scores[item][metric] = known[case["id"]].score
    return scores


def _of_answers(metrics: frozenset[str]) -> list[str]:
    """Return those that say something of the answer, in a fixed order."""
    return sorted(metrics & {"faithfulness", *GRADED})
