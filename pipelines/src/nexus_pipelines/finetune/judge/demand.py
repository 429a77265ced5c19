"""What a job wants of the judge, and whether that can be had: asked before anything is trained."""

from collections.abc import Iterable

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import GRADED, JUDGED
from nexus_pipelines.finetune.judge.access import Judge, judge_from
from nexus_pipelines.finetune.judge.errors import NothingToJudgeBy

_NAMED = 5  # items that an error names


def judged_metrics(spec: FineTuneJobSpec) -> frozenset[str]:
    """Return the metrics of the spec that a judge gives."""
    chosen = spec.evaluation
    named = {chosen.primary_metric, *chosen.metrics, *(floor.metric for floor in chosen.floors)}
    return JUDGED & named


def demanded_judge(spec: FineTuneJobSpec, items: Iterable[GoldenItem]) -> Judge | None:
    """Return the judge that the job needs; None for a job that needs none.

    Raises:
        JudgeNotConfigured: the platform names none, or wrongly.
        NothingToJudgeBy: items have no passages: a mean over the others would be of another set.
    """
    metrics = judged_metrics(spec)
    if not metrics:
        return None
    judge = judge_from()
    by_passages = metrics - GRADED
    if by_passages and (bare := [item.id for item in items if not item.contexts]):
        named = ", ".join(repr(one) for one in bare[:_NAMED])
        raise NothingToJudgeBy(
            f"{' and '.join(sorted(by_passages))} are judged by an item's passages, and "
            f"{len(bare)} items of the golden set have none ({named}): give them contexts or take "
            "other metrics"
        )
    return judge
