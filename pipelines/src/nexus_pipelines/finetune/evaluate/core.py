"""From golden items to results: what was answered before is kept, the rest is asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.release import ReleasableUnit
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import JUDGED, OVERLAP, score
from nexus_evaluation.metrics.latency import latency
from nexus_evaluation.metrics.support import Embed
from nexus_evaluation.results import ItemResult, means
from nexus_evaluation.slices import slices
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.messages import Messages
from nexus_pipelines.finetune.evaluate.asking import Answered


class Reply(NamedTuple):
    """An answer as it is kept; `refused` says why there is none."""

    id: str
    answer: str
    milliseconds: float
    refused: str = ""


class Side(NamedTuple):
    """One unit's results, in the order of the golden set, and the questions that it refused."""

    results: tuple[ItemResult, ...]
    refused: dict[str, str]


def candidate_unit(
    spec: FineTuneJobSpec, production: ReleasableUnit | None, adapter: str
) -> ReleasableUnit:
    """Return what would be released: production with another adapter, else the base with it.

    Args:
        spec: of the job.
        production: what serves now, if anything.
        adapter: the digest of the new adapter.
    """
    unit = production or ReleasableUnit(
        base=spec.base_model.uri, base_revision=spec.base_model.revision
    )
    return unit.model_copy(update={"adapter_uri": None, "adapter_digest": adapter})


def wanted_metrics(spec: FineTuneJobSpec) -> tuple[str, ...]:
    """Return the metrics to compute: all overlaps, and what the spec names beside them."""
    chosen = spec.evaluation
    named = {chosen.primary_metric, *chosen.metrics, *(floor.metric for floor in chosen.floors)}
    return tuple(sorted({*OVERLAP, *named}))


def ask_all(
    items: Iterable[GoldenItem],
    known: Mapping[str, Reply],
    prompt: Callable[[GoldenItem], Messages],
    answer: Callable[[Messages], Answered],
    keep: Callable[[Reply], None],
) -> dict[str, Reply]:
    """Ask what is not known yet; every answer is handed to `keep` as it comes.

    A question that does not fit is no answer at all, as it would be in production.
    """
    replies = dict(known)
    for item in items:
        if item.id in replies:
            continue
        try:
            told = answer(prompt(item))
        except QuestionTooLong as error:
            reply = Reply(item.id, "", 0.0, str(error))
        else:
            reply = Reply(item.id, told.text, told.milliseconds)
        replies[item.id] = reply
        keep(reply)
    return replies


def assess(
    items: Sequence[GoldenItem],
    replies: Mapping[str, Reply],
    metrics: Sequence[str],
    embed: Embed | None,
    judged: Mapping[str, Mapping[str, float]] | None = None,
) -> Side:
    """Score every item's answer.

    judged: by item, the scores that a judge gave; they stand for the metrics that it judges.
    """
    computed = [name for name in metrics if name not in JUDGED]
    results = []
    for item in items:
        reply = replies[item.id]
        told = judged.get(item.id, {}) if judged else {}
        results.append(
            ItemResult(
                id=item.id,
                cluster=item.cluster,
                slices=slices(item),
                answer=reply.answer,
                metrics={**score(reply.answer, item, computed, embed), **told},
                latency_ms=reply.milliseconds,
            )
        )
    refused = {item.id: replies[item.id].refused for item in items if replies[item.id].refused}
    return Side(tuple(results), refused)


def report(candidate: Side, production: Side | None) -> dict[str, Any]:
    """Compare means, latency and refusals, side by side."""
    sides = {"candidate": candidate, "production": production}
    present = {name: side for name, side in sides.items() if side is not None}
    averages = {name: means(side.results) for name, side in present.items()}
    return {
        "items": len(candidate.results),
        "metrics": {
            metric: {name: averages.get(name, {}).get(metric) for name in sides}
            for metric in averages["candidate"]
        },
        "latency": {name: _latency(side) for name, side in present.items()},
        "refused": {name: side.refused for name, side in present.items()},
    }


def _latency(side: Side) -> Any:
    found = latency(one.latency_ms for one in side.results if one.id not in side.refused)
    return None if found is None else found.model_dump(mode="json", by_alias=True)
