"""Two files of results become pairs by item, or are refused by a typed reason."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.results import ItemResult

_SHOWN = 3  # ids in a message


class Refusal(Exception):
    """Results that no verdict can stand on.  The gate fails closed."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Pairs:
    """Scores of the primary metric by item, in one order that is the same for every input."""

    clusters: tuple[str, ...]
    slices: tuple[Mapping[str, str], ...]
    candidate: tuple[float, ...]
    production: tuple[float, ...]
    same_answers: bool = False

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """Candidate less production."""
        return tuple(
            ours - theirs for ours, theirs in zip(self.candidate, self.production, strict=True)
        )


def checked(
    policy: GatePolicy, documents: Mapping[str, str], results: Sequence[ItemResult], who: str
) -> tuple[ItemResult, ...]:
    """Order one side's results by id, when each golden item has just one and all scores stand.

    ``documents``: the golden items' documents by id.

    Raises:
        Refusal: an id twice, missing or unknown; another document than the golden item's; a
            metric that is missing or no number.
    """
    if not documents or not results:
        raise Refusal("NoItems", f"{who}: there is nothing to compare")
    counts = Counter(result.id for result in results)
    _none(who, "DuplicateIds", "more than one result", [i for i, n in counts.items() if n > 1])
    _none(who, "MissingItems", "no result", documents.keys() - counts.keys())
    _none(who, "UnknownItems", "a result but no golden item", counts.keys() - documents.keys())
    moved = [result.id for result in results if result.cluster != documents[result.id]]
    _none(who, "UnequalItems", "another document than the golden set", moved)
    lost = [
        f"{result.id} ({metric})"
        for result in results
        for metric, score in result.metrics.items()
        if not math.isfinite(score)
    ]
    # Of any metric: a judge or an embedder that failed may have failed elsewhere too.
    _none(who, "NotANumber", "a score that is no number", lost)
    for metric in dict.fromkeys((policy.metric, *policy.floors, *policy.ceilings)):
        _scores_stand(results, metric, who, binary=policy.binary and metric == policy.metric)
    return tuple(sorted(results, key=lambda result: result.id))


def paired(
    policy: GatePolicy, candidate: Sequence[ItemResult], production: Sequence[ItemResult]
) -> Pairs:
    """Pair two checked sides.

    Raises:
        Refusal: they do not agree on an item's slices.
    """
    unequal = [
        ours.id
        for ours, theirs in zip(candidate, production, strict=True)
        if ours.slices != theirs.slices
    ]
    _none("candidate and production", "UnequalItems", "different slices", unequal)
    return Pairs(
        clusters=tuple(result.cluster for result in candidate),
        slices=tuple(result.slices.named() for result in candidate),
        candidate=tuple(result.metrics[policy.metric] for result in candidate),
        production=tuple(result.metrics[policy.metric] for result in production),
        same_answers=all(
            ours.answer == theirs.answer for ours, theirs in zip(candidate, production, strict=True)
        ),
    )


def _scores_stand(results: Sequence[ItemResult], metric: str, who: str, *, binary: bool) -> None:
    label = f"{who}, {metric}"
    _none(
        label,
        "MissingMetric",
        "no score",
        [result.id for result in results if metric not in result.metrics],
    )
    scores = [(result.id, result.metrics[metric]) for result in results]
    outside = [name for name, score in scores if not 0.0 <= score <= 1.0]
    _none(label, "OutOfRange", "a score outside 0 to 1", outside)
    if binary:
        between = [name for name, score in scores if score not in {0.0, 1.0}]
        _none(label, "NotBinary", "a score that is neither 0 nor 1", between)


def _none(who: str, reason: str, what: str, ids: Sequence[str] | set[str]) -> None:
    if ids:
        named = ", ".join(repr(name[:60]) for name in sorted(ids)[:_SHOWN])
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        raise Refusal(reason, f"{who}: {what} for {named}{more}")
