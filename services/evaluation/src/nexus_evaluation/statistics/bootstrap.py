"""The cluster bootstrap: documents are drawn with replacement, all their items with them.

Resample weights depend on the number of clusters and the seed alone, so that the same results
give the same numbers again, and two candidates on one golden set are judged by the same draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from nexus_evaluation.statistics.clusters import Clusters, Floats

RESAMPLES: Final = 20_000
_CAUTION: Final = 0.6
_ENOUGH: Final = 60  # clusters
_ROUNDING: Final = 1e-12
_CACHED: Final = 12_500_000  # weights, 100 MB: beyond it they are drawn anew each time
_BLOCK: Final = 1_000_000  # weights drawn at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with one-sided bounds; each bound is missed with probability alpha."""

    estimate: float
    lower: float
    upper: float


def cautious(alpha: float, clusters: int) -> float:
    """Give the level at which BCa bounds are missed no more often than ``alpha``.

    Bounds of a bootstrap are approximate, far out in the tail and over few clusters most: measured
    at .05 / 12 on symmetric, skewed and binary differences, BCa missed up to half as often again
    over 60 clusters and more, up to twice over 20.  Three fifths of the level from 60 clusters on,
    less in proportion below, keep what was promised; `tests/bench/gate_level.py` measures it.
    """
    return alpha * _CAUTION * min(1.0, clusters / _ENOUGH)


def bca(clusters: Clusters, alpha: float, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Bound the mean difference by bias-corrected and accelerated (BCa) quantiles.

    ``alpha`` is one-sided.  The levels are widened for few clusters, as a t interval is wider
    than a normal one.  A bound beyond the outermost resample is -1 or 1, the limits of a gain.
    Sources: Efron, Better bootstrap confidence intervals, 1987; Davison and Hinkley, Bootstrap
    Methods and their Application, 1997, 3.8 (clusters); Hesterberg, What teachers should know
    about the bootstrap, 2015, 5.3 (the widening).
    """
    estimate = clusters.mean
    means = np.sort(resampled(clusters.sums, clusters.sizes, resamples=resamples, seed=seed))
    # Means that differ by rounding only are equal: else noise would pass for bias.
    low_end, high_end = np.searchsorted(means, [estimate - _ROUNDING, estimate + _ROUNDING])
    below = (low_end + high_end) / 2
    share = float(np.clip(below / len(means), 1 / len(means), 1 - 1 / len(means)))
    bias, skew = float(ndtri(share)), _acceleration(clusters)
    tail = _widened(alpha, len(clusters.sums))
    low = _shifted(-tail, bias, skew)
    high = _shifted(tail, bias, skew)
    rank = int(np.floor(low * (len(means) + 1)))
    top = int(np.ceil(high * (len(means) + 1)))
    return Interval(
        estimate,
        lower=float(means[rank - 1]) if rank >= 1 else -1.0,
        upper=float(means[top - 1]) if top <= len(means) else 1.0,
    )


def chance_above(
    sums: Floats, sizes: Floats, threshold: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Give the share of resampled means at or above ``threshold``, for each column.

    ``sums`` and ``sizes``: [clusters, columns]; a cluster without items of a column has size 0.
    This is the percentile bootstrap's p-value of "not below the threshold"; it never falls when
    a difference rises.  At least 1 / (resamples + 1); draws without an item of the column do
    not count.
    """
    means = resampled(sums, sizes, resamples=resamples, seed=seed)
    drawn = np.count_nonzero(~np.isnan(means), axis=0)
    above = np.count_nonzero(means >= threshold, axis=0)
    shares: Floats = (above + 1) / (drawn + 1)
    return shares


def resampled(sums: Floats, sizes: Floats, *, resamples: int, seed: int) -> Floats:
    """Give means over resampled clusters: [resamples] or [resamples, columns]; NaN for no item."""
    parts = []
    for weights in _weights(len(sums), resamples, seed):
        counts = weights @ sizes
        parts.append(
            np.divide(weights @ sums, counts, out=np.full_like(counts, np.nan), where=counts > 0)
        )
    return np.concatenate(parts)


def _weights(clusters: int, resamples: int, seed: int) -> Iterator[Floats]:
    if clusters * resamples <= _CACHED:
        return iter((_whole(clusters, resamples, seed),))
    return _drawn(clusters, resamples, seed)


@lru_cache(maxsize=1)
def _whole(clusters: int, resamples: int, seed: int) -> Floats:
    return np.concatenate(list(_drawn(clusters, resamples, seed)))


def _drawn(clusters: int, resamples: int, seed: int) -> Iterator[Floats]:
    random = np.random.Generator(np.random.PCG64(seed))
    rows = max(_BLOCK // clusters, 1)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picks = random.integers(0, clusters, size=(count, clusters))
        flat = (picks + np.arange(count)[:, None] * clusters).ravel()
        tally = np.bincount(flat, minlength=count * clusters)
        yield tally.reshape(count, clusters).astype(np.float64)


def _acceleration(clusters: Clusters) -> float:
    means = clusters.jackknife
    deviations = means.mean() - means
    square = float(deviations @ deviations)
    if square <= len(means) * _ROUNDING**2:
        return 0.0
    return float((deviations**3).sum() / (6 * square**1.5))


def _widened(alpha: float, clusters: int) -> float:
    """Give the normal quantile, positive, of which a t interval of so few clusters is as wide."""
    freedom = max(clusters - 1, 1)
    return float(-stdtrit(freedom, alpha) * np.sqrt(clusters / freedom))


def _shifted(tail: float, bias: float, skew: float) -> float:
    moved = bias + tail
    scale = 1 - skew * moved
    # Past its pole the transformation says nothing: take the outermost quantile instead.
    return float(ndtr(bias + moved / scale)) if scale > 0 else float(tail > 0)
