"""The statistics, against other people's implementations and by what they promise."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nexus_evaluation.statistics import bootstrap
from nexus_evaluation.statistics.bootstrap import bca, cautious, chance_above
from nexus_evaluation.statistics.clusters import clustered
from nexus_evaluation.statistics.holm import holm
from nexus_evaluation.statistics.mcnemar import gain_lower, gain_upper, mcnemar_p
from nexus_evaluation.statistics.power import (
    design_effect,
    items_needed,
    smallest_binary,
    smallest_continuous,
)
from nexus_evaluation.statistics.spending import next_level

counts = st.integers(0, 300)
levels = st.sampled_from([0.05, 0.01, 0.05 / 12])


@given(counts, counts)
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    p = mcnemar_p(wins, losses)
    if wins + losses == 0:
        assert p == 1.0
        return
    expected = stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
    assert p == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(counts, counts, st.integers(0, 300), levels)
def test_the_bound_is_above_zero_just_where_the_test_rejects(
    wins: int, losses: int, ties: int, level: float
) -> None:
    items = max(wins + losses + ties, 1)
    p, lower = mcnemar_p(wins, losses), gain_lower(wins, losses, items, level)
    if abs(p - level) > 1e-9:
        assert (p < level) == (lower > 0)
    gain = (wins - losses) / items
    assert lower <= gain + 1e-12
    assert gain <= gain_upper(wins, losses, items, level) + 1e-12


@given(counts, counts, levels)
def test_a_win_more_or_a_loss_less_never_lowers_the_exact_bound(
    wins: int, losses: int, level: float
) -> None:
    # Where it decides, above 0: below, a new pair that differs is new room to be wrong.
    before = max(gain_lower(wins, losses, 700, level), 0)
    assert max(gain_lower(wins + 1, losses, 700, level), 0) >= before - 1e-12
    if losses:
        assert max(gain_lower(wins, losses - 1, 700, level), 0) >= before - 1e-12


def test_bca_is_that_of_scipy() -> None:
    random = np.random.default_rng(5)
    values = random.exponential(1.0, size=150) - 0.8
    ours = bca(clustered(list(values), [str(place) for place in range(150)]), 0.05)
    tail = bootstrap._widened(0.05, 150)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=1 - 2 * stats.norm.sf(tail),
        n_resamples=40_000,
        method="BCa",
        random_state=np.random.default_rng(6),
    ).confidence_interval
    error = values.std() / math.sqrt(150)
    assert ours.estimate == pytest.approx(values.mean())
    assert ours.lower == pytest.approx(theirs.low, abs=0.07 * error)
    assert ours.upper == pytest.approx(theirs.high, abs=0.07 * error)


@pytest.mark.parametrize("documents", [20, 60])
def test_the_bound_keeps_its_level_also_where_losses_are_rare_and_large(documents: int) -> None:
    # The worst case for a lower bound: a sample without the rare losses looks safe.
    level, random, missed = 0.02, np.random.default_rng(17), 0
    names = [str(place // 4) for place in range(4 * documents)]
    for _ in range(500):
        lost = random.random(size=(documents, 4)) < 0.1
        values = np.where(lost, -0.36, 0.04).ravel()  # mean 0
        found = bca(clustered(list(values), names), cautious(level, documents), resamples=2000)
        missed += found.lower > 0
    # 500 at 2 %: 10 expected, 19 is three standard errors above.
    assert missed <= 19


def test_bounds_miss_a_skewed_mean_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(11)
    names = [f"d{place // 3}" for place in range(120)]
    missed = 0
    for _ in range(600):
        shared = np.repeat(random.exponential(0.5, size=40), 3)
        values = shared + random.exponential(0.5, size=120)
        found = bca(clustered(list(values), names), 0.05, resamples=2000)
        missed += found.lower > 1.0
    # 600 draws at 5 %: 30 expected, 47 is three standard errors above.
    assert 8 <= missed <= 47


def test_all_documents_of_one_gain_leave_no_doubt() -> None:
    found = bca(clustered([0.25] * 40, [str(place % 20) for place in range(40)]), 0.004)
    assert (found.lower, found.estimate, found.upper) == (0.25, 0.25, 0.25)


def test_rounding_is_no_variance() -> None:
    # Each document's sum is 1.6 but for the last digit.
    values = [0.5, 0.5, -0.2] * 100
    found = bca(clustered(values, [str(place % 50) for place in range(300)]), 0.004)
    assert (found.lower, found.upper) == pytest.approx((0.8 / 3, 0.8 / 3))


def test_documents_that_agree_within_widen_the_bound() -> None:
    values = [1.0 if place < 60 else 0.0 for place in range(120)]
    alone = bca(clustered(values, [str(place) for place in range(120)]), 0.01)
    together = bca(clustered(values, [str(place // 6) for place in range(120)]), 0.01)
    assert together.lower < alone.lower - 0.05
    assert design_effect(clustered(values, [str(place // 6) for place in range(120)]), 60) > 4


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=30), st.randoms())
@settings(max_examples=30)
def test_the_order_of_items_shows_in_no_digit(values: list[float], random: Random) -> None:
    names = [f"d{place % 7}" for place in range(len(values))]
    items = list(zip(values, names, strict=True))
    random.shuffle(items)
    shuffled = clustered([value for value, _ in items], [name for _, name in items])
    one = bca(clustered(values, names), 0.05, resamples=500)
    assert bca(shuffled, 0.05, resamples=500) == one


def test_draws_are_the_same_whether_they_are_kept_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    values, names = list(random.normal(size=90)), [str(place % 30) for place in range(90)]
    kept = bca(clustered(values, names), 0.01)
    monkeypatch.setattr(bootstrap, "_CACHED", 0)
    again = bca(clustered(values, names), 0.01)
    assert again.lower == pytest.approx(kept.lower, abs=1e-12)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=8, max_size=24),
    st.integers(0, 7),
    st.floats(0, 1, width=32),
)
@settings(max_examples=30)
def test_a_better_item_never_makes_a_slice_look_worse(
    values: list[float], place: int, by: float
) -> None:
    def chance(given: list[float]) -> float:
        found = clustered(given, [f"d{at % 8}" for at in range(len(given))])
        sums, sizes = found.sums[:, None], found.sizes[:, None]
        return float(chance_above(sums, sizes, -0.05, resamples=500)[0])

    better = [value + by if at == place else value for at, value in enumerate(values)]
    assert chance(better) >= chance(values)


def test_draws_without_an_item_of_the_slice_do_not_count() -> None:
    sums, sizes = np.zeros((10, 2)), np.ones((10, 2))
    sizes[1:, 1] = 0
    sums[0, 1] = -1.0
    chances = chance_above(sums, sizes, -0.05, resamples=1000)
    assert chances[0] == 1.0
    assert chances[1] < 0.01


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 7), st.floats(0, 1))
def test_holm_never_falls_when_a_p_value_rises(
    p_values: list[float], place: int, higher: float
) -> None:
    at = place % len(p_values)
    raised = [max(p, higher) if where == at else p for where, p in enumerate(p_values)]
    for before, after in zip(holm(p_values), holm(raised), strict=True):
        assert after >= before


def test_items_needed_are_the_known_figures() -> None:
    assert items_needed(0.05, 0.15, 0.05) == pytest.approx(368.9, abs=0.1)
    assert items_needed(0.10, 0.20, 0.05) == pytest.approx(121.5, abs=0.1)


@pytest.mark.parametrize(("items", "discordant"), [(150, 0.2), (400, 0.3)])
def test_the_smallest_gain_is_found_four_times_in_five(items: int, discordant: float) -> None:
    level = 0.05 / 12
    wins = losses = round(items * discordant / 2)
    gain = smallest_binary(wins, losses, items, level)
    assert 0 < gain < discordant
    random = np.random.default_rng(2)
    won, lost = (discordant + gain) / 2, (discordant - gain) / 2
    drawn = random.multinomial(items, [won, lost, 1 - won - lost], size=4000)
    found = np.mean([mcnemar_p(int(win), int(loss)) < level for win, loss, _ in drawn])
    # The exact test is a little less sharp than the formula's normal one.
    assert 0.72 <= found <= 0.85


@given(st.integers(0, 100), st.integers(0, 100), levels)
def test_winning_more_makes_no_set_underpowered(wins: int, losses: int, level: float) -> None:
    before = smallest_binary(wins, losses, 200, level)
    assert 0 < before <= 1
    limit = smallest_binary(200 - losses, losses, 200, level)
    assert smallest_binary(wins, losses, 200, level) <= limit + 1e-9


def test_a_continuous_metric_finds_its_smallest_gain() -> None:
    random = np.random.default_rng(4)
    names = [str(place) for place in range(200)]
    level = 0.05 / 12
    values = random.normal(0.0, 0.3, size=200)
    gain = smallest_continuous(list(values), names, level, effect=0.1)
    assert gain == pytest.approx(3.48 * values.std() / math.sqrt(200), rel=0.02)
    won = smallest_continuous([1.0] * 120 + [0.0] * 80, names, level, effect=0.1)
    assert won < 0.05


@given(st.integers(1, 60), st.integers(0, 200), st.sampled_from([0.05, 0.01]))
def test_no_row_of_decisions_spends_more_than_alpha(
    decisions: int, gates: int, alpha: float
) -> None:
    spent: list[float] = []
    for _ in range(gates):
        spending = next_level(alpha, decisions, spent)
        assert spending.level == alpha / decisions
        if not spending.spent_out:
            spent.append(spending.level)
    assert len(spent) == min(gates, decisions)
    assert math.fsum(spent) <= alpha * (1 + 1e-9)


def test_what_nobody_can_add_up_is_spent() -> None:
    for spent in (math.nan, math.inf):
        assert next_level(0.05, 12, [0.01, spent]).spent_out
