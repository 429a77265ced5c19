"""The bound that holds for every distribution: against exact chances."""

from itertools import product
from math import comb, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation.statistics.clusters import Clusters
from nexus_evaluation.statistics.hoeffding import certain_lower

alphas = st.floats(1e-6, 0.2)


def of_documents(*gains: float, sizes: tuple[float, ...] = ()) -> Clusters:
    weights = np.array(sizes or [1.0] * len(gains))
    return Clusters(np.array(gains) * weights, weights)


@given(st.integers(2, 60), st.floats(0, 1), alphas)
def test_it_is_missed_no_more_often_than_said(documents: int, share: float, alpha: float) -> None:
    """Of documents that gain 1 with this chance and lose 1 otherwise."""
    missed = 0.0
    for won in range(documents + 1):
        found = of_documents(*([1.0] * won + [-1.0] * (documents - won)))
        if certain_lower(found, alpha) > 2 * share - 1 + 1e-9:
            missed += comb(documents, won) * share**won * (1 - share) ** (documents - won)
    assert missed <= alpha


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("sizes", [(4.0, *[1.0] * 8), (5.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_nor_with_documents_of_unequal_sizes(
    share: float, sizes: tuple[float, ...], alpha: float
) -> None:
    missed = 0.0
    for outcome in product((1.0, -1.0), repeat=len(sizes)):
        if certain_lower(of_documents(*outcome, sizes=sizes), alpha) > 2 * share - 1 + 1e-9:
            missed += prod(share if gain > 0 else 1 - share for gain in outcome)
    assert missed <= alpha


@given(st.integers(1, 500), alphas)
def test_without_a_loss_it_is_the_exact_bound(documents: int, alpha: float) -> None:
    found = certain_lower(of_documents(*[1.0] * documents), alpha)
    assert found == pytest.approx(2 * alpha ** (1 / documents) - 1, abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), alphas)
def test_it_lies_below_the_mean_and_rises_with_it(gains: list[float], alpha: float) -> None:
    bound = certain_lower(of_documents(*gains), alpha)
    assert -1 <= bound <= np.mean(gains) + 1e-9
    better = [min(gain + 0.1, 1.0) for gain in gains]
    assert certain_lower(of_documents(*better), alpha) >= bound - 1e-9
    assert certain_lower(of_documents(*gains), alpha / 2) <= bound + 1e-9


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.integers(2, 9), alphas)
def test_only_the_relation_of_sizes_counts(gains: list[float], size: int, alpha: float) -> None:
    alike = of_documents(*gains, sizes=(float(size),) * len(gains))
    assert certain_lower(alike, alpha) == pytest.approx(
        certain_lower(of_documents(*gains), alpha), abs=1e-9
    )
