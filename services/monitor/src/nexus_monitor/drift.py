"""How far two samples of named bins lie apart, and how far at the least.  Pure.

The distance is total variation: the largest difference of the two shares that any set of bins has,
0 to 1.  Of samples it is never 0: without any drift, ten equal bins show 8 % at 200 answers beside
a known reference, so a threshold on the distance itself is an alarm that always rings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DRAWS: Final = 4_000
_PRIOR: Final = 0.5  # added to each bin that is drawn from: an empty one may be so by chance

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One feature in two samples.  Shares and distances from 0 to 1."""

    feature: str
    reference: int
    """Answers in the reference."""
    current: int
    distance: float
    """Total variation of the samples."""
    lower: float
    """What the true distance exceeds, unless a chance of at most alpha came true."""
    fallen: float
    """The same for what moved into the worst bins; 0 where bins have no order."""
    stability: float
    """Population stability index of the samples: for reports, it decides nothing."""
    moved: tuple[tuple[str, float], ...]
    """Bins whose share changed most, with the change."""


def compare(
    feature: str,
    reference: Mapping[str, int],
    current: Mapping[str, int],
    *,
    alpha: float,
    order: Sequence[str] = (),
    draws: int = DRAWS,
) -> Drift:
    """Compare the counts of bins; those that neither sample has do not matter.

    ``order``: bins from the worst on, where there is such a thing; the others are good.

    The bound: |samples' distance - true distance| is at most the distance of the samples' errors,
    whose distribution the bootstrap knows even where there is no drift (Gine and Zinn, 1990), and
    whose quantile is taken off.  No bias has to be guessed, and a sum over any set of bins, such
    as those below a score, is bounded by the same figure.

    Raises:
        ValueError: a sample is empty.
    """
    bins = _bins(reference, current, order)
    before, after = _counts(reference, bins), _counts(current, bins)
    if not before.sum() or not after.sum():
        raise ValueError(f"{feature}: a sample without answers cannot be compared")
    difference = after / after.sum() - before / before.sum()
    distance = float(np.abs(difference).sum() / 2)
    slack = _slack(before, after, alpha, draws)
    worst = sum(name in order for name in bins)
    fallen = float(np.cumsum(difference[:worst]).max(initial=0.0)) - slack
    largest = np.argsort(-np.abs(difference), kind="stable")[:3]
    return Drift(
        feature=feature,
        reference=int(before.sum()),
        current=int(after.sum()),
        distance=distance,
        lower=max(0.0, distance - slack),
        fallen=max(0.0, fallen),
        stability=_stability(before, after),
        moved=tuple((bins[one], float(difference[one])) for one in largest if difference[one]),
    )


def _bins(
    reference: Mapping[str, int], current: Mapping[str, int], order: Sequence[str]
) -> list[str]:
    seen = {name for counts in (reference, current) for name, count in counts.items() if count}
    return [*(name for name in order if name in seen), *sorted(seen - set(order))]


def _counts(counts: Mapping[str, int], bins: Sequence[str]) -> Floats:
    return np.array([counts.get(name, 0) for name in bins], dtype=np.float64)


def _slack(before: Floats, after: Floats, alpha: float, draws: int) -> float:
    """Give the quantile of the distance between the errors of two samples of such sizes."""
    random = np.random.Generator(np.random.PCG64(0))  # same counts, same bound
    errors = _errors(random, after, draws) - _errors(random, before, draws)
    return float(np.quantile(np.abs(errors).sum(axis=1) / 2, 1 - alpha, method="higher"))


def _errors(random: np.random.Generator, counts: Floats, draws: int) -> Floats:
    shares = (counts + _PRIOR) / (counts + _PRIOR).sum()
    size = int(counts.sum())
    errors: Floats = random.multinomial(size, shares, size=draws) / size - shares
    return errors


def _stability(before: Floats, after: Floats) -> float:
    old = (before + _PRIOR) / (before + _PRIOR).sum()
    new = (after + _PRIOR) / (after + _PRIOR).sum()
    return float(((new - old) * np.log(new / old)).sum())
