"""Verdicts: the first objection decides, and without one the candidate is promoted.

The objections, in their order: the golden set is too small; the candidate lies below a floor or
above a ceiling; it answers as production does; a slice got worse; the lower bound of the gain does
not exceed the least gain, be it that the set could hardly have shown the gain that was asked for,
or that it could; drift or a spent golden set call for a person.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from nexus_evaluation.decision import (
    CeilingCheck,
    Comparison,
    FloorCheck,
    Means,
    SliceCheck,
    Verdict,
)
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.statistics.spending import Spending


class Outcome(NamedTuple):
    """A verdict and why."""

    verdict: Verdict
    reason: str
    message: str
    tested: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict stands on."""

    items: int
    documents: int
    floors: tuple[FloorCheck, ...] = ()
    ceilings: tuple[CeilingCheck, ...] = ()
    comparison: Comparison | None = None
    slices: tuple[SliceCheck, ...] = ()
    same_answers: bool = False
    means: dict[str, Means] = field(default_factory=dict)


def judge(
    policy: GatePolicy, evidence: Evidence, spending: Spending, blocked: str, *, alone: bool
) -> Outcome:
    """Give the first objection, or promote."""
    if evidence.items < policy.min_items:
        return Outcome(
            "Underpowered",
            "TooFewItems",
            f"The golden set has {evidence.items} items; {policy.min_items} are the fewest.",
            tested=False,
        )
    if failed := next((floor for floor in evidence.floors if not floor.passed), None):
        return Outcome(
            "Reject",
            "BelowFloor",
            f"The candidate's {failed.metric} is {failed.value:.3f}, below the floor of "
            f"{failed.floor:g}.",
            tested=evidence.comparison is not None,
        )
    if high := next((ceiling for ceiling in evidence.ceilings if not ceiling.passed), None):
        return Outcome(
            "Reject",
            "AboveCeiling",
            f"The candidate's {high.metric} is {high.value:.3f}; {high.ceiling:g} is the most.",
            tested=evidence.comparison is not None,
        )
    if alone:
        return _without_production(policy, blocked)
    if evidence.documents < policy.min_documents or evidence.comparison is None:
        return Outcome(
            "Underpowered",
            "TooFewDocuments",
            f"The golden set's items come from {evidence.documents} documents; "
            f"{policy.min_documents} are the fewest that a bound can stand on.",
            tested=False,
        )
    return _against_production(policy, evidence, evidence.comparison, spending, blocked)


def _against_production(
    policy: GatePolicy,
    evidence: Evidence,
    found: Comparison,
    spending: Spending,
    blocked: str,
) -> Outcome:
    gain = f"{policy.metric} {found.gain:+.3f} over production (lower bound {found.lower:+.3f})"
    if evidence.same_answers or found.wins + found.losses == 0:
        message = "The candidate answers every item as production does."
        if not evidence.same_answers:
            message = f"The candidate scores as production does on every item, by {policy.metric}."
        return Outcome("Reject", "NoDifference", message, tested=False)
    if vetoes := [part for part in evidence.slices if part.vetoes]:
        named = ", ".join(f"{part.dimension} {part.value} ({part.gain:+.3f})" for part in vetoes)
        return Outcome(
            "Reject",
            "SliceWorse",
            f"Worse than production by more than {policy.slice_margin:g} in {named}.",
        )
    if not found.lower > policy.min_gain:
        return _not_shown(policy, evidence, found, gain)
    return _better(policy, gain, spending, blocked)


def _not_shown(policy: GatePolicy, evidence: Evidence, found: Comparison, gain: str) -> Outcome:
    """Tell a set that would often miss the gain asked for from a candidate that lacks it.

    How large a gain a set misses says nothing about one that it has shown: the error of the test
    is bounded whatever its power is.  Source: Hoenig and Heisey, The abuse of power, 2001.
    """
    if found.bootstrap_lower <= -1 and found.gain > policy.min_gain:
        return Outcome(
            "Underpowered",
            "NoBound",
            f"Over {evidence.documents} documents that gain so alike the bootstrap has no bound, "
            f"and the one that always holds is too wide: give the golden set items of more "
            f"documents. Seen: {gain}.",
        )
    if found.smallest_detectable > policy.detectable_effect:
        return Outcome(
            "Underpowered",
            "EffectTooSmall",
            f"{evidence.items} items find a gain of {found.smallest_detectable:.3f} four times in "
            f"five; a gain of {policy.detectable_effect:g} was asked for. Seen: {gain}.",
        )
    return Outcome("Reject", "NotBetter", f"{gain}; it must exceed {policy.min_gain:g}.")


def _better(policy: GatePolicy, gain: str, spending: Spending, blocked: str) -> Outcome:
    if blocked:
        return Outcome("AskPerson", "DriftTooLarge", f"{gain}; a person is asked: {blocked}")
    if spending.spent_out:
        return Outcome(
            "AskPerson",
            "GoldenSetSpent",
            f"{gain}; but this golden set has taken the {policy.decisions} decisions that it was "
            "made for: give it a new version with new items.",
        )
    return Outcome("Promote", "Better", f"{gain}, above {policy.min_gain:g}.")


def _without_production(policy: GatePolicy, blocked: str) -> Outcome:
    if blocked:
        message = f"There is no production to compare with; a person is asked: {blocked}"
        return Outcome("AskPerson", "DriftTooLarge", message, tested=False)
    if not policy.floors:
        message = "There is no production to compare with, and evaluation.floors names no floor."
        return Outcome("AskPerson", "NoFloors", message, tested=False)
    message = "There is no production to compare with; the candidate meets every floor."
    return Outcome("Promote", "FloorsMet", message, tested=False)
