"""A passed gate moves the champion by itself, unless promotions are stopped when it would."""

from typing import Any

import pytest
from small_world import World
from tuning import (
    end,
    fail,
    fine_tune_job,
    finish_move,
    finish_run,
    job_status,
    node,
    parameters,
    release_report,
    reporting,
    runs,
    the_run,
    working,
)

from nexus_api.meta import PROMOTE_REQUESTED, PROMOTION_BLOCKED, RUN_REQUESTED
from nexus_operator.reconcile.reconcile import Key

pytestmark = pytest.mark.usefixtures("model_of_champion")
AUTO = {"mode": "Auto", "servingModelRef": {"name": "assistant"}}
STOP = "drift: answerLength is far away"


def make(world: World, **promotion: Any) -> Key:
    key = world.create(fine_tune_job(promotion={**AUTO, **promotion}))
    world.settle(key)
    return key


def moves(world: World) -> list[dict[str, str]]:
    return [parameters(one) for one in runs(world, "nexus-release")]


def awaiting(world: World, key: Key) -> tuple[str, str]:
    found = world.condition(key, "AwaitingApproval")
    return found.get("status", ""), found.get("reason", "")


def test_a_passed_gate_releases_by_itself_once(world: World) -> None:
    key = make(world)
    run = the_run(world)
    finish_run(world, run, "Promote", "1")
    world.settle(key)
    [asked] = moves(world)
    assert (asked["action"], asked["version"], asked["by"]) == ("release", "1", "gate")
    assert awaiting(world, key) == ("", "")
    finish_move(world, runs(world, "nexus-release")[0])
    world.settle(key)
    assert job_status(world, key)["champion"]["version"] == "1"
    assert awaiting(world, key) == ("False", "Released")
    for _ in range(3):
        world.advance(3600)
        world.settle(key)
    assert len(moves(world)) == 1


@pytest.mark.parametrize("verdict", ["AskPerson", "Reject", "Underpowered"])
def test_no_other_verdict_releases(world: World, verdict: str) -> None:
    key = make(world)
    finish_run(world, the_run(world), verdict, "1" if verdict == "AskPerson" else "")
    world.settle(key)
    assert moves(world) == []


@pytest.mark.parametrize("promotion", [{"mode": "Manual"}, {"pinnedVersion": "7"}])
@pytest.mark.parametrize("when", ["before the run", "during the run"])
def test_mode_and_pin_count_as_they_are_when_the_run_ends(
    world: World, promotion: dict[str, str], when: str
) -> None:
    key = make(world, **(promotion if when == "before the run" else {}))
    run = the_run(world)
    world.patch(key, {"spec": {"promotion": promotion}})
    world.settle(key)
    finish_run(world, run, "Promote", "1")
    world.settle(key)
    assert [one for one in moves(world) if one["by"] == "gate"] == []


def test_a_run_that_was_to_wait_for_a_person_is_not_released_by_a_later_mode(world: World) -> None:
    key = make(world, mode="Manual")
    finish_run(world, the_run(world), "Promote", "1")
    world.patch(key, {"spec": {"promotion": {"mode": "Auto"}}})
    world.settle(key)
    assert moves(world) == []
    assert awaiting(world, key) == ("True", "Better")


@pytest.mark.parametrize("promotion", [{"mode": "Manual"}, {"pinnedVersion": "1"}])
def test_what_was_left_to_a_person_is_not_released_by_a_later_mode_or_pin(
    world: World, promotion: dict[str, str]
) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.settle(key)
    finish_move(world, runs(world, "nexus-release")[0])
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    run = the_run(world)
    world.patch(key, {"spec": {"promotion": promotion}})
    finish_run(world, run, "Promote", "2")
    world.settle(key)
    world.advance(30 * 86400)
    world.patch(key, {"spec": {"promotion": {"mode": "Auto", "pinnedVersion": None}}})
    world.settle(key)
    assert [one["version"] for one in moves(world)] == ["1"]
    assert awaiting(world, key) == ("True", "Better")
    world.annotate(key, PROMOTE_REQUESTED, "2 by ada")
    world.settle(key)
    assert [one["by"] for one in moves(world) if one["version"] == "2"] == ["ada"]


def test_a_stop_that_comes_during_a_run_asks_a_person(world: World) -> None:
    key = make(world)
    run = the_run(world)
    assert parameters(run)["blocked"] == ""
    working(world, run, node(world, "train", "Running"))
    world.annotate(key, PROMOTION_BLOCKED, STOP)
    world.settle(key)
    finish_run(world, run, "Promote", "1")
    world.settle(key)
    assert moves(world) == []
    decision = job_status(world, key)["lastDecision"]
    assert (decision["verdict"], decision["reason"]) == ("AskPerson", "DriftTooLarge")
    assert STOP in decision["message"]
    assert awaiting(world, key) == ("True", "DriftTooLarge")
    # Once asked, a person decides, even when the drift has gone.
    world.patch(key, {"metadata": {"annotations": {PROMOTION_BLOCKED: None}}})
    world.settle(key)
    assert moves(world) == []
    assert job_status(world, key)["lastDecision"] == decision
    world.annotate(key, PROMOTE_REQUESTED, "1 by ada")
    world.settle(key)
    assert [one["by"] for one in moves(world)] == ["ada"]


def test_a_stop_that_is_gone_by_the_end_of_the_run_stops_nothing(world: World) -> None:
    key = make(world)
    world.annotate(key, PROMOTION_BLOCKED, STOP)
    world.settle(key)
    world.patch(key, {"metadata": {"annotations": {PROMOTION_BLOCKED: None}}})
    finish_run(world, the_run(world), "Promote", "1")
    world.settle(key)
    assert [one["by"] for one in moves(world)] == ["gate"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_stop_that_comes_after_the_release_began_changes_nothing(
    world: World, moved: bool
) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.settle(key)
    if moved:
        finish_move(world, runs(world, "nexus-release")[0])
        world.settle(key)
    world.annotate(key, PROMOTION_BLOCKED, STOP)
    world.settle(key)
    if not moved:
        finish_move(world, runs(world, "nexus-release")[0])
        world.settle(key)
    status = job_status(world, key)
    assert (status["champion"]["version"], status["lastDecision"]["verdict"]) == ("1", "Promote")
    assert len(moves(world)) == 1


def test_an_operator_that_was_away_looks_at_the_stop_when_it_is_back(world: World) -> None:
    key = make(world)
    run = the_run(world)
    finish_run(world, run, "Promote", "1")
    world.annotate(key, PROMOTION_BLOCKED, STOP)
    world.advance(7200)
    world.settle(key)
    assert moves(world) == []
    assert awaiting(world, key) == ("True", "DriftTooLarge")


def test_a_status_that_was_lost_asks_a_person(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    cleared = dict.fromkeys(job_status(world, key))
    world.run(world.cluster.patch(key.ref, {"status": cleared}, subresource="status"))
    world.settle(key)
    assert moves(world) == []
    assert "was lost" in job_status(world, key)["lastDecision"]["message"]


def test_a_release_is_looked_at_and_followed_although_nothing_is_heard_of_it(
    world: World,
) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.annotate(key, RUN_REQUESTED, "ada-1")
    assert world.reconcile(key).requeue_after is not None
    [move] = runs(world, "nexus-release")
    finish_move(world, move)
    assert world.reconcile(key).requeue_after is not None
    world.reconcile(key)
    assert len(runs(world)) == 2


def test_a_definition_that_keeps_less_of_the_champion_holds_up_no_run(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.settle(key)
    [move] = runs(world, "nexus-release")
    told = {**release_report("1"), "fingerprint": "f" * 16}
    end(world, move, "Succeeded", reporting(world, "release", release=told))
    world.annotate(key, RUN_REQUESTED, "ada-1")
    for _ in range(4):
        world.reconcile(key)
        pruned = {"champion": {"fingerprint": None}}
        world.run(world.cluster.patch(key.ref, {"status": pruned}, subresource="status"))
    assert len(runs(world)) == 2


def test_the_next_run_waits_until_the_champion_is_known(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    assert len(runs(world)) == 1
    assert world.condition(key, "Running")["reason"] == "Releasing"
    finish_move(world, runs(world, "nexus-release")[0])
    world.settle(key)
    assert len(runs(world)) == 2


def test_a_release_that_failed_is_said_and_holds_up_nothing(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.settle(key)
    fail(world, runs(world, "nexus-release")[0], "release")
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    assert world.condition(key, "Released")["status"] == "False"
    assert (len(moves(world)), len(runs(world))) == (1, 2)


def test_who_promoted_another_version_meanwhile_is_not_overruled(world: World) -> None:
    key = make(world)
    run = the_run(world)
    world.annotate(key, PROMOTE_REQUESTED, "7 by ada")
    world.settle(key)
    finish_run(world, run, "Promote", "8")
    world.settle(key)
    world.advance(60)
    finish_move(world, runs(world, "nexus-release")[0])
    world.settle(key)
    assert [one["by"] for one in moves(world)] == ["ada"]
    assert awaiting(world, key) == ("False", "PassedOver")


def test_what_a_run_of_an_older_platform_released_is_not_released_again(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "2", **release_report("2", "1"))
    world.settle(key)
    assert moves(world) == []
    assert job_status(world, key)["champion"]["version"] == "2"
