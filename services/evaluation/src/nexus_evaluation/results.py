"""Per-item results: what one releasable unit answered to each golden item, and its scores."""

import math
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from nexus_evaluation.errors import BadResults
from nexus_evaluation.records import Record, checked, decoded, digest, lines, written


class Slices(Record):
    """The groups that an item belongs to; empty for unknown."""

    language: str = ""
    length: str = ""
    topic: str = ""

    def named(self) -> dict[str, str]:
        """The groups that are known, by dimension."""
        return {name: value for name, value in self if value}


class ItemResult(Record):
    """One answered golden item.  Metrics run from 0 to 1; latency is in milliseconds."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    """The golden item's id."""
    cluster: Annotated[str, Field(min_length=1, max_length=1024)]
    """Its document, or its id."""
    slices: Slices = Slices()
    """Its groups."""
    answer: str
    """What the model said."""
    metrics: dict[str, float]
    """Scores by metric."""
    latency_ms: float = 0.0
    """From sending the request to the whole answer."""


def read(content: bytes, name: str = "results") -> tuple[ItemResult, ...]:
    """Read JSON Lines of results; ids given twice are left to the gate, which refuses them.

    Raises ``BadResults`` with the line.
    """
    return tuple(
        checked(ItemResult, value, name=name, number=number, error=BadResults)
        for number, value in lines(decoded(content, name, BadResults), name, BadResults)
    )


def write(results: Iterable[ItemResult]) -> bytes:
    """Write what ``read`` reads back."""
    return written(result.model_dump(mode="python", by_alias=True) for result in results)


def results_digest(results: Iterable[ItemResult]) -> str:
    """Name the content of results; their order does not matter."""
    ordered = sorted(results, key=lambda result: (result.id, result.answer))
    return digest(result.model_dump(mode="python", by_alias=True) for result in ordered)


def means(results: Iterable[ItemResult]) -> dict[str, float]:
    """Average each metric that every item has; exact sums, so the order does not matter.

    NaN where a score is no finite number.
    """
    items = list(results)
    names = set.intersection(*(set(item.metrics) for item in items)) if items else set()
    return {name: _mean([item.metrics[name] for item in items]) for name in sorted(names)}


def _mean(values: list[float]) -> float:
    finite = all(math.isfinite(value) for value in values)
    return math.fsum(values) / len(values) if finite else math.nan
