"""The gate's decision as a document: every number, test, threshold and the verdict."""

from collections.abc import Iterator
from typing import Any, Literal

from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.records import Record

Verdict = Literal["Promote", "Reject", "Underpowered", "AskPerson"]


class AlphaUse(Record):
    """What part of the error allowed this decision used; see ``statistics.spending``."""

    level: float
    """One-sided level of this decision's test."""
    before: float
    """Spent by earlier decisions on this golden set."""
    spent: float
    """Spent by this one: its level, or 0 where it could not have promoted."""
    spent_out: bool
    """Whether the rest was smaller than the level, so that only a person may promote."""


class Means(Record):
    """The mean of one metric; production is None where there is none, or it lacks the metric."""

    candidate: float
    production: float | None = None


class Exact(Record):
    """McNemar's exact one-sided test of a binary metric."""

    p: float
    lower: float
    upper: float


class Comparison(Record):
    """Candidate against production on the primary metric, item by item."""

    candidate: float
    production: float
    gain: float
    """Candidate less production."""
    lower: float
    """Lower bound of the gain: the lowest of the tests' bounds."""
    upper: float
    wins: int
    losses: int
    ties: int
    exact: Exact | None
    """For binary metrics."""
    bootstrap_level: float
    """Sharper than the decision's level, since a bootstrap is approximate."""
    bootstrap_lower: float
    """BCa over source documents; -1 where it has no bound, and Hoeffding's decides."""
    bootstrap_upper: float
    standard_error: float
    design_effect: float
    """How much clusters raise the variance."""
    smallest_detectable: float
    """Gain that such a set finds four times in five at this level."""


class FloorCheck(Record):
    """One absolute floor."""

    metric: str
    value: float
    floor: float
    passed: bool


class CeilingCheck(Record):
    """One absolute ceiling, of a metric of which less is better."""

    metric: str
    value: float
    ceiling: float
    passed: bool


class SliceCheck(Record):
    """One slice; p and adjusted are None where it is too small to test."""

    dimension: str
    value: str
    items: int
    documents: int
    candidate: float
    production: float
    gain: float
    p: float | None
    """Chance, by resampling, of a gain no lower than minus the margin."""
    adjusted: float | None
    """The same by Holm."""
    vetoes: bool


class Decision(Record):
    """A gate's decision.  It follows from the policy, the results and what was spent before."""

    schema_version: Literal[1] = 1
    verdict: Verdict
    reason: str
    """One CamelCase word."""
    message: str
    """A sentence with the numbers that decided."""
    golden_digest: str
    candidate_digest: str
    production_digest: str | None
    policy: GatePolicy
    alpha: AlphaUse
    items: int
    documents: int
    means: dict[str, Means]
    comparison: Comparison | None
    floors: tuple[FloorCheck, ...]
    ceilings: tuple[CeilingCheck, ...] = ()
    slices: tuple[SliceCheck, ...]
    blocked: str
    """Why a person must be asked whatever the numbers say; empty if not."""
    resamples: int
    seed: int
    libraries: dict[str, str]
    """Versions of the numeric libraries."""

    def summary(self) -> dict[str, Any]:
        """Give what fits into an output parameter."""
        comparison = self.comparison
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "message": self.message,
            "metric": self.policy.metric,
            "gain": comparison.gain if comparison else None,
            "lower": comparison.lower if comparison else None,
            "items": self.items,
        }


def differences(one: Any, other: Any, path: str = "", *, tolerance: float = 1e-9) -> Iterator[str]:
    """Name the fields in which two JSON documents differ, numbers by more than ``tolerance``."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            yield from differences(
                one.get(name), other.get(name), f"{path}.{name}".strip("."), tolerance=tolerance
            )
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{path}[{place}]", tolerance=tolerance)
    elif isinstance(one, float) and isinstance(other, float):
        if abs(one - other) > tolerance:
            yield path
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield path
