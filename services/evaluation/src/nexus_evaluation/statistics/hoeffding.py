"""A bound on a mean gain that holds for every distribution, wide as it is."""

import math
from typing import Final

from scipy.special import rel_entr

from nexus_evaluation.statistics.clusters import Clusters

_STEPS: Final = 60  # halvings: more than a double can tell apart


def certain_lower(clusters: Clusters, alpha: float) -> float:
    """Bound the mean of differences within [-1, 1] from below, one-sided at ``alpha``.

    By Chernoff's bound in Hoeffding's form, on what each cluster lacks of the best difference.
    Clusters of unequal sizes count as so many of the largest size as have all the items: a
    cluster's weight w, relative to the largest, turns a term 1 - y (1 - e^-t) into one that is at
    most 1 - w y (1 - e^-t), and the mean of these over all clusters is what is bounded.
    Source: Hoeffding, Probability inequalities for sums of bounded random variables, 1963,
    theorem 1.
    """
    count = len(clusters.sums)
    full = clusters.items / float(clusters.sizes.max()) / count  # 1 where all sizes are equal
    lacking = min(max((1 - clusters.mean) / 2, 0.0), 1.0) * full
    room = -math.log(alpha) / count
    low, high = lacking, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(lacking, middle) < room else (low, middle)
    return 1 - 2 * min(high / full, 1.0)


def _divergence(seen: float, true: float) -> float:
    """Kullback and Leibler's divergence of two shares, ``seen`` from ``true``."""
    return float(rel_entr(seen, true) + rel_entr(1 - seen, 1 - true))
