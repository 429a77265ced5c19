"""Several tests at once: Holm's step-down procedure."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values, in their order; those at or below alpha are rejected.

    One false rejection among all of them is then no likelier than alpha, however they depend on
    each other.
    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
