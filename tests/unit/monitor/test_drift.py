"""The distance of two samples, its bound, and its bands."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_monitor.bands import Band, Bands
from nexus_monitor.cells import topic_counts
from nexus_monitor.drift import compare
from nexus_monitor.simulation import World, simulate

COUNTS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(0, 5000), min_size=1, max_size=8
).filter(lambda counts: sum(counts.values()) > 0)


@given(reference=COUNTS, current=COUNTS, alpha=st.sampled_from([0.5, 0.05, 0.005]))
@settings(max_examples=60, deadline=None)
def test_the_bound_is_never_above_the_distance(
    reference: dict[str, int], current: dict[str, int], alpha: float
) -> None:
    found = compare("f", reference, current, alpha=alpha, order="abcdefgh", draws=500)
    assert 0 <= found.lower <= found.distance <= 1 + 1e-12
    assert 0 <= found.fallen <= found.lower + 1e-12
    assert math.isfinite(found.stability)
    assert found.stability >= 0
    assert (found.reference, found.current) == (sum(reference.values()), sum(current.values()))
    assert found == compare("f", reference, current, alpha=alpha, order="abcdefgh", draws=500)


@given(counts=COUNTS)
@settings(max_examples=30, deadline=None)
def test_a_sample_does_not_drift_from_itself(counts: dict[str, int]) -> None:
    found = compare("f", counts, counts, alpha=0.05, draws=500)
    assert (found.distance, found.lower, found.fallen, found.stability) == (0, 0, 0, 0)
    assert found.moved == ()


@given(reference=COUNTS, current=COUNTS)
@settings(max_examples=30, deadline=None)
def test_a_stricter_level_never_bounds_higher(
    reference: dict[str, int], current: dict[str, int]
) -> None:
    levels = [compare("f", reference, current, alpha=a, draws=500).lower for a in (0.2, 0.05, 0.01)]
    assert levels == sorted(levels, reverse=True)


def test_what_moved_is_named() -> None:
    found = compare("f", {"a": 500, "b": 500}, {"a": 300, "c": 700}, alpha=0.05)
    assert found.distance == pytest.approx(0.7)
    assert [name for name, _ in found.moved] == ["c", "b", "a"]
    assert dict(found.moved) == pytest.approx({"c": 0.7, "b": -0.5, "a": -0.2})


def test_only_a_move_towards_the_worst_bins_is_a_fall() -> None:
    low, high = {"bad": 600, "good": 400}, {"bad": 300, "good": 700}
    fell = compare("f", high, low, alpha=0.05, order=("bad", "good"))
    assert fell.fallen == pytest.approx(fell.lower)
    assert fell.fallen > 0.2
    rose = compare("f", low, high, alpha=0.05, order=("bad", "good"))
    assert rose.lower > 0.2
    assert rose.fallen == 0


def test_a_move_among_bins_without_an_order_is_no_fall() -> None:
    prose, lists = {"prose": 900, "list": 100}, {"prose": 300, "list": 700}
    for before, after in ((prose, lists), (lists, prose)):
        moved = compare("f", before, after, alpha=0.05, order=("empty", "markers"))
        assert moved.lower > 0.5
        assert moved.fallen == 0
    empty = compare("f", prose, {"prose": 600, "empty": 400}, alpha=0.05, order=("empty",))
    assert 0.3 < empty.fallen <= 0.4


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="f: a sample without answers"):
        compare("f", {"a": 5}, {"a": 0}, alpha=0.05)


@given(lower=st.floats(0, 1))
@settings(deadline=None)
def test_bands_cover_every_bound_and_rise(lower: float) -> None:
    bands = Bands()
    band = bands.of(lower)
    assert bands.of(min(1.0, lower + 0.01)) >= band
    expected = (
        Band.QUIET
        if lower < 0.02
        else Band.WARN
        if lower < 0.05
        else Band.RETRAIN
        if lower <= 0.10
        else Band.STOP
    )
    assert band is expected


@pytest.mark.parametrize(
    "wrong", [{"warn": 0.06}, {"stop": 1.0}, {"retrain": 0.1}, {"alpha": 0.0}, {"least": 0}]
)
def test_bands_that_contradict_themselves_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Bands(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("answers", [200, 5000])
def test_no_drift_is_no_alarm_though_samples_differ(answers: int) -> None:
    """Of looks without drift, no more than alpha bound anything above 0: seen over fixed seeds."""
    tally = simulate(World("skewed", answers, 0.0), Bands(), looks=20, seed=1)
    assert tally.mean_distance > 0.015  # which a bare threshold would warn of, or worse
    assert tally.too_high <= 4  # more has a chance of 0.3 % at 5 %
    assert tally.looks - tally.bands[Band.QUIET] <= 1
    assert tally.bands[Band.STOP] == 0


def test_ten_percent_of_drift_is_seen_in_a_large_sample() -> None:
    tally = simulate(World("equal", 5000, 0.1), Bands(), looks=10, seed=1)
    assert tally.bands[Band.QUIET] == 0
    assert tally.bands[Band.RETRAIN] >= 7
    assert tally.bands[Band.STOP] == 0  # 10 % is not above 10 %


def test_cells_tell_another_topic_from_the_same() -> None:
    random = np.random.Generator(np.random.PCG64(5))
    centres = random.normal(size=(4, 16)) * 3

    def drawn(count: int, topics: int) -> np.ndarray:
        chosen = random.integers(0, topics, size=count)
        return centres[chosen] + random.normal(size=(count, 16))

    reference = drawn(1000, 3)
    same = compare("topic", *topic_counts(reference, drawn(500, 3)), alpha=0.01)
    assert (same.reference, same.current) == (500, 500)
    assert same.lower == 0
    other = compare("topic", *topic_counts(reference, drawn(500, 4)), alpha=0.01)
    assert other.lower > 0.05


def test_a_topic_that_is_new_is_elsewhere() -> None:
    old, new = np.array([[1.0, 0.0]] * 100), np.array([[0.0, 1.0]] * 30)
    before, after = topic_counts(old, np.concatenate([old[:70], new]))
    assert (before["elsewhere"], after["elsewhere"], after.total()) == (0, 30, 100)


def test_cells_take_equal_and_empty_questions() -> None:
    before, after = topic_counts(np.zeros((16, 3)), np.ones((5, 3)))
    assert (before.total(), after.total()) == (8, 5)
    with pytest.raises(ValueError, match="too few"):
        topic_counts(np.zeros((15, 3)), np.ones((5, 3)))
    with pytest.raises(ValueError, match="cannot be compared"):
        topic_counts(np.zeros((16, 3)), np.ones((5, 4)))
