"""An experiment: several ways to answer one golden set, each held against a baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from nexus_evaluation.diff import diff
from nexus_evaluation.golden import GoldenItem, GoldenSet
from nexus_evaluation.metrics.latency import Latency, latency
from nexus_evaluation.plots import WIDTH, Span, spans
from nexus_evaluation.report import environment
from nexus_evaluation.results import ItemResult, means
from nexus_evaluation.statistics.bootstrap import bca
from nexus_evaluation.statistics.clusters import clustered

LEVEL: Final = 0.025  # one-sided: intervals of 95 %
_DOCUMENTS: Final = 10  # fewest that an interval is drawn from
_SHOWN: Final = 200  # items


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to answer: what was asked how, and what came of it."""

    run: str
    model: str
    prompt: str
    retrieval: str
    results: tuple[ItemResult, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why questions have no answer, by item."""
    baseline: str = ""
    """Name of the run that it is held against; empty for a baseline."""

    @property
    def label(self) -> str:
        """What it is called in plots."""
        return " · ".join(part for part in (self.model, self.prompt, self.retrieval) if part)

    def mean(self, metric: str) -> float:
        """Its mean by a metric that every item has."""
        return means(self.results)[metric]

    @property
    def latency(self) -> Latency | None:
        """How long answers took; None when every question was refused."""
        return latency(one.latency_ms for one in self.results if one.id not in self.refused)


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better than its baseline a way to answer is; bounds of 95 %, None for few items."""

    by: float
    lower: float | None
    upper: float | None
    better: int
    worse: int


def gain(arm: Arm, baseline: Arm, metric: str) -> Gain:
    """Compare on the same items; documents are what is resampled.

    Raises ``BadResults`` for an id given twice, and for an item without the metric.
    """
    found = diff(baseline.results, arm.results, metric)
    before = {one.id: one.metrics[metric] for one in baseline.results}
    pairs = [one for one in arm.results if one.id in before]
    differences = [one.metrics[metric] - before[one.id] for one in pairs]
    documents = [one.cluster for one in pairs]
    lower = upper = None
    if len(set(documents)) >= _DOCUMENTS:
        # It informs; what decides takes the level of `cautious`.
        interval = bca(clustered(differences, documents), LEVEL)
        lower, upper = interval.lower, interval.upper
    by = math.fsum(differences) / len(differences) if differences else math.nan
    return Gain(by, lower, upper, len(found.better), len(found.worse))


def gains(arms: Sequence[Arm], metric: str) -> dict[str, Gain]:
    """Return each arm's gain over its baseline, by run; baselines have none."""
    known = {arm.run: arm for arm in arms}
    return {arm.run: gain(arm, known[arm.baseline], metric) for arm in arms if arm.baseline}


def render(title: str, golden: GoldenSet, arms: Sequence[Arm], metric: str) -> str:
    """Write the report: one HTML page, no scripts, nothing fetched, every text escaped."""
    found = gains(arms, metric)
    rows = [
        Span(arm.label, found[arm.run].by, found[arm.run].lower, found[arm.run].upper)
        for arm in arms
        if arm.run in found
    ]
    return str(
        _template().render(
            title=title,
            golden=golden,
            arms=arms,
            metric=metric,
            metrics=sorted(set.intersection(*(set(means(arm.results)) for arm in arms))),
            gains=found,
            forest=spans(rows) if rows else None,
            width=WIDTH,
            items=_apart(golden.items, arms, metric)[:_SHOWN],
        )
    )


def _apart(
    items: Sequence[GoldenItem], arms: Sequence[Arm], metric: str
) -> list[tuple[GoldenItem, list[tuple[Arm, ItemResult]]]]:
    """Return each item with what was answered, those first on which the arms differ most."""
    answers = [{one.id: one for one in arm.results} for arm in arms]
    rows = [
        (item, [(arm, by_id[item.id]) for arm, by_id in zip(arms, answers, strict=True)])
        for item in items
    ]

    def spread(row: tuple[GoldenItem, list[tuple[Arm, ItemResult]]]) -> float:
        scores = [result.metrics[metric] for _, result in row[1]]
        return max(scores) - min(scores)

    return sorted(rows, key=lambda row: (-spread(row), row[0].id))


@cache
def _template() -> Any:
    return environment().get_template("experiment.html.j2")
