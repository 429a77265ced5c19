"""The gate: paired results in, a decision out, with everything that led to it.

It fails closed: results that cannot be paired item by item are refused, whatever they say.
"""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nexus_evaluation.assessment import SEED, check_slices, compare
from nexus_evaluation.decision import (
    AlphaUse,
    CeilingCheck,
    Decision,
    FloorCheck,
    Means,
    differences,
)
from nexus_evaluation.errors import NotReproduced
from nexus_evaluation.golden import GoldenSet
from nexus_evaluation.pairs import Pairs, Refusal, checked, paired
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.results import ItemResult, means, results_digest
from nexus_evaluation.statistics.bootstrap import RESAMPLES
from nexus_evaluation.statistics.spending import Spending, next_level
from nexus_evaluation.verdict import Evidence, Outcome, judge


@dataclass(frozen=True, slots=True)
class GoldenKey:
    """The golden set that both sides answered: its digest, and the document of each item by id."""

    digest: str
    documents: Mapping[str, str]

    @classmethod
    def of(cls, golden: GoldenSet) -> "GoldenKey":
        """Take it from the set."""
        return cls(golden.digest, {item.id: item.cluster for item in golden.items})


def decide(
    policy: GatePolicy,
    golden: GoldenKey,
    candidate: Sequence[ItemResult],
    production: Sequence[ItemResult] | None,
    *,
    spent: Iterable[float] = (),
    blocked: str = "",
) -> Decision:
    """Decide between a candidate and production, which is None before the first promotion.

    ``spent``: what earlier decisions on this golden set spent of alpha.  ``blocked``: why a
    person must be asked whatever the numbers say.  Pure: equal inputs, in any order of items, give
    an equal document.
    """
    spending = next_level(policy.alpha, policy.decisions, spent)
    evidence = Evidence(len(golden.documents), 0)
    try:
        ours = checked(policy, golden.documents, candidate, "candidate")
        theirs = None
        if production is not None:
            theirs = checked(policy, golden.documents, production, "production")
        evidence = _evidence(policy, ours, theirs, spending)
        outcome = judge(policy, evidence, spending, blocked, alone=theirs is None)
    except Refusal as refusal:
        outcome = Outcome("Reject", refusal.reason, f"{refusal}.", tested=False)
    return _document(policy, golden, candidate, production, spending, evidence, outcome, blocked)


def reproduce(
    decision: Decision,
    golden: GoldenKey,
    candidate: Sequence[ItemResult],
    production: Sequence[ItemResult] | None,
) -> None:
    """Decide again from stored results and compare every field.

    Raises ``NotReproduced`` that names the fields which differ.
    """
    again = decide(
        decision.policy,
        golden,
        candidate,
        production,
        spent=[decision.alpha.before],
        blocked=decision.blocked,
    )
    # Other versions of numeric libraries are no difference as long as the numbers agree.
    stored, made = (
        document.model_dump(mode="json", exclude={"libraries"}) for document in (decision, again)
    )
    if differing := list(differences(stored, made)):
        raise NotReproduced(f"the results give another decision; it differs in {differing[:5]}")


def gather(policy: GatePolicy, pairs: Pairs, spending: Spending) -> Evidence:
    """Measure pairs; nothing is tested on a set that is too small to decide."""
    items, documents = len(pairs.clusters), len(set(pairs.clusters))
    if items < policy.min_items or documents < policy.min_documents:
        return Evidence(items, documents, same_answers=pairs.same_answers)
    return Evidence(
        items,
        documents,
        comparison=compare(policy, pairs, spending.level),
        slices=check_slices(policy, pairs),
        same_answers=pairs.same_answers,
    )


def _evidence(
    policy: GatePolicy,
    ours: Sequence[ItemResult],
    theirs: Sequence[ItemResult] | None,
    spending: Spending,
) -> Evidence:
    if theirs is None:
        found = Evidence(len(ours), len({result.cluster for result in ours}))
    else:
        found = gather(policy, paired(policy, ours, theirs), spending)
    values = means(ours)
    return replace(
        found,
        floors=_floors(policy, values),
        ceilings=_ceilings(policy, values),
        means=_means(values, theirs),
    )


def _floors(policy: GatePolicy, values: Mapping[str, float]) -> tuple[FloorCheck, ...]:
    return tuple(
        FloorCheck(metric=metric, value=values[metric], floor=floor, passed=values[metric] >= floor)
        for metric, floor in sorted(policy.floors.items())
    )


def _ceilings(policy: GatePolicy, values: Mapping[str, float]) -> tuple[CeilingCheck, ...]:
    return tuple(
        CeilingCheck(
            metric=metric, value=values[metric], ceiling=most, passed=values[metric] <= most
        )
        for metric, most in sorted(policy.ceilings.items())
    )


def _means(values: Mapping[str, float], theirs: Sequence[ItemResult] | None) -> dict[str, Means]:
    before = means(theirs) if theirs else {}
    return {
        name: Means(candidate=value, production=before.get(name)) for name, value in values.items()
    }


def _document(
    policy: GatePolicy,
    golden: GoldenKey,
    candidate: Sequence[ItemResult],
    production: Sequence[ItemResult] | None,
    spending: Spending,
    evidence: Evidence,
    outcome: Outcome,
    blocked: str,
) -> Decision:
    import numpy as np
    import scipy

    spent = spending.level if outcome.tested and not spending.spent_out else 0.0
    return Decision(
        verdict=outcome.verdict,
        reason=outcome.reason,
        message=outcome.message,
        golden_digest=golden.digest,
        candidate_digest=results_digest(candidate),
        production_digest=None if production is None else results_digest(production),
        policy=policy,
        alpha=AlphaUse(
            level=spending.level,
            before=spending.before,
            spent=spent,
            spent_out=spending.spent_out,
        ),
        items=evidence.items,
        documents=evidence.documents,
        means=evidence.means,
        comparison=evidence.comparison,
        floors=evidence.floors,
        ceilings=evidence.ceilings,
        slices=evidence.slices,
        blocked=blocked,
        resamples=RESAMPLES,
        seed=SEED,
        libraries={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    )
