"""Paired differences summed by cluster: items of one document are not independent of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Sums of differences and counts of items, both [clusters], in the order of cluster names."""

    sums: Floats
    sizes: Floats

    @property
    def items(self) -> int:
        """The number of items."""
        return int(self.sizes.sum())

    @property
    def mean(self) -> float:
        """The mean difference over items."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, by linearising the ratio of sums over sizes; 0 for one.

        Source: Cochran, Sampling Techniques, 1977, section 6.4 (ratio estimator).
        """
        count = len(self.sums)
        if count < 2:  # noqa: PLR2004 - one cluster has no variance
            return 0.0
        residuals = self.sums - self.mean * self.sizes
        total = float(residuals @ residuals) * count / (count - 1)
        return float(np.sqrt(total) / self.sizes.sum())

    @property
    def jackknife(self) -> Floats:
        """Means without each cluster in turn; the mean itself where nothing would be left."""
        rest = self.sizes.sum() - self.sizes
        means: Floats = np.where(
            rest > 0, (self.sums.sum() - self.sums) / np.where(rest > 0, rest, 1.0), self.mean
        )
        return means


def clustered(differences: Sequence[float], names: Sequence[str]) -> Clusters:
    """Sum differences by cluster name; any order of the items gives the same numbers."""
    order = sorted(range(len(names)), key=lambda place: (names[place], differences[place]))
    rows = {name: row for row, name in enumerate(dict.fromkeys(names[place] for place in order))}
    where = np.array([rows[names[place]] for place in order], dtype=np.intp)
    values = np.array([differences[place] for place in order], dtype=np.float64)
    sums: Floats = np.bincount(where, weights=values).astype(np.float64)
    return Clusters(sums, np.bincount(where).astype(np.float64))
