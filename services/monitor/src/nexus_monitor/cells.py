"""Cells of meaning: clusters of old questions, in which recent ones are counted.  Pure."""

from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

CELLS: Final = 8
_ROUNDS: Final = 50
_NEARLY_ALL: Final = 0.98
_ROUNDING: Final = 1e-9

Vectors = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


def topic_counts(
    reference: Vectors, current: Vectors, *, cells: int = CELLS
) -> tuple[Counter[str], Counter[str]]:
    """Count both samples in k-means cells of the reference: [n, dim] and [m, dim].

    Cells lie closer to the points that they were made of than to any other, which would look like
    drift: so one half of the reference, drawn at random, makes the cells, and the other is counted.
    What lies farther from every cell than nearly all that made them is counted as elsewhere.

    Raises:
        ValueError: the reference is smaller than twice the cells, or dimensions differ.
    """
    if reference.ndim != 2 or current.ndim != 2 or reference.shape[1] != current.shape[1]:  # noqa: PLR2004 - rows and columns
        raise ValueError(f"vectors of {reference.shape} and {current.shape} cannot be compared")
    if len(reference) < 2 * cells:
        raise ValueError(f"{len(reference)} questions are too few for {cells} cells")
    known, fresh = _unit(reference), _unit(current)
    drawn = np.random.Generator(np.random.PCG64(0)).permutation(len(known))
    makers, counted = known[drawn[::2]], known[drawn[1::2]]
    centres = _centres(makers, cells)
    reach = float(np.quantile(_distances(makers, centres).min(axis=1), _NEARLY_ALL)) + _ROUNDING
    return _counted(counted, centres, reach), _counted(fresh, centres, reach)


def _centres(points: Floats, cells: int) -> Floats:
    """Find the centres by k-means++ and Lloyd's rounds; the same points give the same ones."""
    random = np.random.Generator(np.random.PCG64(0))
    chosen = [int(random.integers(len(points)))]
    for _ in range(cells - 1):
        far = _distances(points, points[chosen]).min(axis=1)
        total = far.sum()
        # All points are centres already: the rest of the cells stay empty.
        weights = far / total if total > 0 else None
        chosen.append(int(random.choice(len(points), p=weights)))
    centres = points[chosen]
    for _ in range(_ROUNDS):
        nearest = _distances(points, centres).argmin(axis=1)
        moved = np.array(
            [
                points[nearest == one].mean(axis=0) if (nearest == one).any() else centres[one]
                for one in range(cells)
            ]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def _counted(points: Floats, centres: Floats, reach: float) -> Counter[str]:
    distances = _distances(points, centres)
    nearest, far = distances.argmin(axis=1).tolist(), (distances.min(axis=1) > reach).tolist()
    return Counter(
        "elsewhere" if beyond else f"cell {number}"
        for number, beyond in zip(nearest, far, strict=True)
    )


def _distances(points: Floats, centres: Floats) -> Floats:
    """Give the squared distances [points, centres]; never below 0 by rounding."""
    squared = (
        (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)[None] - 2 * points @ centres.T
    )
    distances: Floats = np.maximum(squared, 0.0)
    return distances


def _unit(vectors: Vectors) -> Floats:
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return unit
