"""What the pairs show: the comparison on the primary metric, and each slice of it."""

import math
from collections.abc import Sequence

import numpy as np

from nexus_evaluation.decision import Comparison, Exact, SliceCheck
from nexus_evaluation.pairs import Pairs
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.statistics.bootstrap import RESAMPLES, bca, cautious, chance_above
from nexus_evaluation.statistics.clusters import clustered
from nexus_evaluation.statistics.hoeffding import certain_lower
from nexus_evaluation.statistics.holm import holm
from nexus_evaluation.statistics.mcnemar import gain_lower, gain_upper, mcnemar_p
from nexus_evaluation.statistics.power import (
    design_effect,
    smallest_binary,
    smallest_continuous,
)

SEED = 0
_SLICE_DOCUMENTS = 5  # fewest documents of a slice that is tested


def compare(policy: GatePolicy, pairs: Pairs, level: float) -> Comparison:
    """Compare on the primary metric at a one-sided level.

    A binary metric is judged by the exact McNemar test and, since that takes items for
    independent, by the bootstrap over documents too: the lower of their bounds decides.  Where
    nearly all documents gain the same, BCa has no bound (its skew is beyond what it corrects);
    one that holds for every distribution stands in.
    """
    differences, items = pairs.differences, len(pairs.clusters)
    wins = sum(value > 0 for value in differences)
    losses = sum(value < 0 for value in differences)
    clusters = clustered(differences, pairs.clusters)
    sharper = cautious(level, len(clusters.sums))
    interval = bca(clusters, sharper, resamples=RESAMPLES, seed=SEED)
    lower = interval.lower if interval.lower > -1 else certain_lower(clusters, sharper)
    design = design_effect(clusters, math.fsum(value**2 for value in differences))
    exact = None
    if policy.binary:
        exact = Exact(
            p=mcnemar_p(wins, losses),
            lower=gain_lower(wins, losses, items, level),
            upper=gain_upper(wins, losses, items, level),
        )
        smallest = smallest_binary(wins, losses, items, sharper, design=design)
    else:
        room = policy.detectable_effect - policy.min_gain
        smallest = smallest_continuous(differences, pairs.clusters, sharper, effect=room)
    return Comparison(
        candidate=math.fsum(pairs.candidate) / items,
        production=math.fsum(pairs.production) / items,
        gain=math.fsum(differences) / items,
        lower=min(lower, exact.lower) if exact else lower,
        upper=max(interval.upper, exact.upper) if exact else interval.upper,
        wins=wins,
        losses=losses,
        ties=items - wins - losses,
        exact=exact,
        bootstrap_level=sharper,
        bootstrap_lower=interval.lower,
        bootstrap_upper=interval.upper,
        standard_error=clusters.standard_error,
        design_effect=design,
        smallest_detectable=min(policy.min_gain + smallest, 1.0),
    )


def check_slices(policy: GatePolicy, pairs: Pairs) -> tuple[SliceCheck, ...]:
    """Test each slice that is large enough for being worse than the margin, Holm over all."""
    members: dict[tuple[str, str], list[int]] = {}
    for place, named in enumerate(pairs.slices):
        for dimension, value in named.items():
            members.setdefault((dimension, value), []).append(place)
    keys = sorted(members)
    tested = [key for key in keys if _testable(policy, pairs, members[key])]
    p_values = _p_values(policy, pairs, [members[key] for key in tested])
    adjusted = dict(zip(tested, holm(p_values), strict=True))
    plain = dict(zip(tested, p_values, strict=True))
    return tuple(
        _slice(policy, pairs, key, members[key], plain.get(key), adjusted.get(key)) for key in keys
    )


def _testable(policy: GatePolicy, pairs: Pairs, places: Sequence[int]) -> bool:
    documents = {pairs.clusters[place] for place in places}
    return len(places) >= policy.slice_min_items and len(documents) >= _SLICE_DOCUMENTS


def _p_values(policy: GatePolicy, pairs: Pairs, slices: Sequence[Sequence[int]]) -> list[float]:
    if not slices:
        return []
    # One set of draws for all slices: whole documents, as for the primary metric.
    rows = {name: row for row, name in enumerate(sorted(set(pairs.clusters)))}
    sums, sizes = np.zeros((len(rows), len(slices))), np.zeros((len(rows), len(slices)))
    differences = pairs.differences
    for column, places in enumerate(slices):
        # In the order of the values: the order of the items must not show in the last digit.
        for place in sorted(places, key=lambda at: (pairs.clusters[at], differences[at])):
            sums[rows[pairs.clusters[place]], column] += differences[place]
            sizes[rows[pairs.clusters[place]], column] += 1
    chances = chance_above(sums, sizes, -policy.slice_margin, resamples=RESAMPLES, seed=SEED)
    return [float(chance) for chance in chances]


def _slice(
    policy: GatePolicy,
    pairs: Pairs,
    key: tuple[str, str],
    places: Sequence[int],
    p: float | None,
    adjusted: float | None,
) -> SliceCheck:
    count = len(places)
    return SliceCheck(
        dimension=key[0],
        value=key[1],
        items=count,
        documents=len({pairs.clusters[place] for place in places}),
        candidate=math.fsum(pairs.candidate[place] for place in places) / count,
        production=math.fsum(pairs.production[place] for place in places) / count,
        gain=math.fsum(pairs.differences[place] for place in places) / count,
        p=p,
        adjusted=adjusted,
        vetoes=adjusted is not None and adjusted <= policy.slice_alpha,
    )
