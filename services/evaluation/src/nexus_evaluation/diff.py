"""What got better and what got worse between two files of results, item by item."""

from collections.abc import Iterable
from dataclasses import dataclass

from nexus_evaluation.errors import BadResults
from nexus_evaluation.results import ItemResult


@dataclass(frozen=True, slots=True)
class Change:
    """One item whose score changed, or whose answer did."""

    id: str
    before: float
    after: float
    answer_before: str
    answer_after: str

    @property
    def by(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Diff:
    """Changes by one metric, largest first; ids that only one side has."""

    metric: str
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    reworded: tuple[Change, ...]  # another answer of the same score
    same: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def diff(before: Iterable[ItemResult], after: Iterable[ItemResult], metric: str) -> Diff:
    """Compare two files of results by one metric (higher is better).

    Raises ``BadResults`` for an id given twice, and for an item without the metric.
    """
    old, new = _scored(before, metric, "before"), _scored(after, metric, "after")
    changes = [
        Change(
            name,
            old[name].metrics[metric],
            new[name].metrics[metric],
            old[name].answer,
            new[name].answer,
        )
        for name in sorted(old.keys() & new.keys())
    ]
    reworded = tuple(
        one for one in changes if one.by == 0 and one.answer_before != one.answer_after
    )
    better = sorted((one for one in changes if one.by > 0), key=lambda one: (-one.by, one.id))
    worse = sorted((one for one in changes if one.by < 0), key=lambda one: (one.by, one.id))
    return Diff(
        metric,
        tuple(better),
        tuple(worse),
        reworded,
        same=len(changes) - len(better) - len(worse) - len(reworded),
        only_before=tuple(sorted(old.keys() - new.keys())),
        only_after=tuple(sorted(new.keys() - old.keys())),
    )


def _scored(results: Iterable[ItemResult], metric: str, who: str) -> dict[str, ItemResult]:
    found: dict[str, ItemResult] = {}
    for result in results:
        if result.id in found:
            raise BadResults(f"{who}: item {result.id!r} has more than one result")
        if metric not in result.metrics:
            raise BadResults(f"{who}: item {result.id!r} has no score {metric!r}")
        found[result.id] = result
    return found
