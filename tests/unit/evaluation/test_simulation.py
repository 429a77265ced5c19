"""How often the gate is wrong, on few years with fixed seeds; the command runs many."""

import pytest

from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.simulation import World, main, simulate, worlds
from nexus_evaluation.statistics.shares import share_interval

# Slices and their veto take part; 60 to 150 documents whose items depend on each other.
EXACT = World("exact match", "exactMatch", 600, 150, 0.2, 0.0)
F1 = World("F1", "f1", 240, 60, 0.5, 0.0)


def better(world: World) -> World:
    return World(world.name, world.metric, world.items, world.documents, world.discordant, 0.1)


@pytest.mark.parametrize("world", [EXACT, F1], ids=["exact", "f1"])
def test_at_no_difference_a_year_of_gates_promotes_nobody_in_nineteen_of_twenty(
    world: World,
) -> None:
    tally = simulate(world, GatePolicy(metric=world.metric), years=8, seed=3)
    assert (tally.years, tally.gates) == (8, 96)
    # 5 % of 8 years is 0.4; 3 or more would be seen once in 170 such tests.
    assert tally.wrong_years <= 2
    # The gates did decide: it is not refusals that keep the rate down.
    assert tally.reasons["NotBetter"] >= 60


@pytest.mark.parametrize("world", [EXACT, F1], ids=["exact", "f1"])
def test_ten_points_are_found_four_times_in_five(world: World) -> None:
    tally = simulate(better(world), GatePolicy(metric=world.metric), years=3, seed=5)
    assert tally.gates == 36
    assert tally.promoted / tally.gates >= 0.8


def test_no_gain_that_was_shown_is_lost_to_the_size_of_the_set() -> None:
    # So small a set finds ten points three times in five, and says so only of the other two.
    world = World("exact match", "exactMatch", 240, 60, 0.2, 0.1)
    tally = simulate(world, GatePolicy(metric="exactMatch"), years=2, seed=5)
    assert tally.gates == 24
    assert tally.promoted >= 9
    assert tally.reasons["EffectTooSmall"] >= 3


def test_the_drawn_gain_is_the_stated_one() -> None:
    for world in worlds([240]):
        if world.metric == "f1":
            tally = simulate(
                World(world.name, "f1", 240, 60, 0.5, 0.1, win=world.win, loss=world.loss),
                GatePolicy(metric="f1", min_gain=0.15, detectable_effect=0.2),
                years=1,
                seed=1,
            )
            assert tally.promoted == 0


def test_intervals_of_shares() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)
    low, high = share_interval(5, 100)
    assert (round(low, 4), round(high, 4)) == (0.0164, 0.1128)


def test_the_command_prints_a_row_for_each_world(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--years", "1", "--items", "120"])
    printed = capsys.readouterr().out
    assert printed.count("| 120/30 |") + printed.count("| 120/120 |") == len(list(worlds([120])))
    assert (
        "| F1, rare large losses | 120/30 | 50% | +0.00 | years with a false promotion" in printed
    )
