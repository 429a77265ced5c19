"""Latencies of answers, summed up; milliseconds."""

import math
from collections.abc import Iterable

from nexus_evaluation.records import Record


class Latency(Record):
    """Mean and percentiles, in milliseconds."""

    mean: float
    p50: float
    p95: float
    longest: float


def latency(milliseconds: Iterable[float]) -> Latency | None:
    """Sum up latencies by nearest rank; None when there is none."""
    ordered = sorted(milliseconds)
    if not ordered:
        return None

    def rank(share: float) -> float:
        return ordered[max(math.ceil(share * len(ordered)), 1) - 1]

    mean = math.fsum(ordered) / len(ordered)
    return Latency(mean=mean, p50=rank(0.5), p95=rank(0.95), longest=ordered[-1])
