"""New examples of a FineTuneJob are counted, and enough of them start one run."""

import json
from typing import Any

import pytest
from small_world import World
from tuning import (
    end,
    fail,
    fine_tune_job,
    finish_count,
    finish_run,
    job_status,
    names,
    parameters,
    runs,
    the_run,
    unfinished,
)

from nexus_api.meta import RUN_REQUESTED
from nexus_operator.reconcile.reconcile import Key

COUNT = "nexus-count"
ENOUGH = 10
WATCHING = {
    "triggers": {
        "newData": {"minExamples": ENOUGH, "checkInterval": "10m"},
        "cooldown": "1h",
    }
}


def make(world: World, **spec: Any) -> Key:
    key = world.create(fine_tune_job(**{**WATCHING, **spec}))
    world.settle(key)
    return key


def counted(world: World, key: Key, examples: int, digest: str = "d") -> None:
    """The count that is under way ends."""
    count = the_run(world, COUNT)
    finish_count(world, count, examples, digest=digest)
    world.settle(key)


def pass_time(world: World, key: Key, seconds: int) -> None:
    world.advance(seconds)
    world.settle(key)


def test_examples_are_counted_at_once_and_too_few_start_nothing(world: World) -> None:
    key = make(world)
    [count] = runs(world, COUNT)
    given = parameters(count)
    assert given["uid"] == world.the(key)["metadata"]["uid"]
    assert json.loads(given["settings"])["triggers"]["newData"]["minExamples"] == ENOUGH
    assert (given["number"], given["after"]) == ("1", "")
    assert world.condition(key, "Counted")["reason"] == "NotYet"
    counted(world, key, ENOUGH - 1)
    assert runs(world) == []
    told = job_status(world, key)["newData"]
    assert (told["examples"], told["number"]) == (ENOUGH - 1, 1)
    condition = world.condition(key, "Counted")
    assert (condition["status"], condition["reason"]) == ("True", "Counted")
    assert "9 new examples and no run has read any before; 10 start a run" in condition["message"]


def test_they_are_counted_again_after_the_interval_one_count_at_a_time(world: World) -> None:
    key = make(world)
    pass_time(world, key, 3600)
    assert len(unfinished(world, COUNT)) == 1
    counted(world, key, 1)
    pass_time(world, key, 9 * 60)
    assert unfinished(world, COUNT) == []
    pass_time(world, key, 61)
    assert parameters(the_run(world, COUNT))["number"] == "2"
    counted(world, key, 2)
    assert len(runs(world, COUNT)) == 1  # the last one is kept, to be looked at
    assert job_status(world, key)["newData"]["examples"] == 2


def test_enough_start_exactly_one_run(world: World) -> None:
    key = make(world)
    counted(world, key, ENOUGH)
    run = the_run(world)
    last = job_status(world, key)["lastRun"]
    assert (last["cause"], last["request"]) == ("NewData", "new-data:d")
    pass_time(world, key, 90000)
    assert names(runs(world)) == names([run])
    assert unfinished(world, COUNT) == []  # none while a run is under way
    finish_run(world, run, "Reject")
    world.settle(key)
    assert parameters(the_run(world, COUNT))["after"] == run["metadata"]["name"]
    counted(world, key, 0)
    pass_time(world, key, 90000)
    assert names(runs(world)) == names([run])


def test_the_next_ones_wait_for_the_cooldown_and_are_not_counted_meanwhile(world: World) -> None:
    key = make(world)
    counted(world, key, ENOUGH)
    world.advance(60)
    finish_run(world, the_run(world), "Reject")
    world.settle(key)
    counted(world, key, ENOUGH + 5, digest="other")
    pass_time(world, key, 45 * 60)
    assert len(runs(world)) == 1
    assert unfinished(world, COUNT) == []
    assert "(NewData)" in world.condition(key, "Running")["message"]
    pass_time(world, key, 15 * 60)
    assert len(runs(world)) == 2


def test_the_same_examples_ask_once_even_if_their_run_failed_before_it_read_them(
    world: World,
) -> None:
    key = make(world)
    counted(world, key, ENOUGH)
    fail(world, the_run(world), "select", 75)
    world.settle(key)
    counted(world, key, ENOUGH)
    pass_time(world, key, 90000)
    assert world.condition(key, "Counted")["reason"] == "Asked"
    assert len(runs(world)) == 1
    counted(world, key, ENOUGH + 1, digest="one more")
    assert len(runs(world)) == 2


def test_a_count_from_before_a_run_starts_none_after_it(world: World) -> None:
    key = make(world)
    count = the_run(world, COUNT)
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    run = the_run(world)
    finish_count(world, count, ENOUGH)
    world.settle(key)
    world.advance(7200)
    finish_run(world, run, "Reject")
    world.settle(key)
    assert names(runs(world)) == names([run])
    assert len(unfinished(world, COUNT)) == 1


def test_examples_are_counted_after_a_run_although_nothing_is_heard_of_its_end(
    world: World,
) -> None:
    key = make(world)
    counted(world, key, ENOUGH)
    finish_run(world, the_run(world), "Reject")
    assert world.reconcile(key).requeue_after is not None
    world.reconcile(key)
    assert len(unfinished(world, COUNT)) == 1


def test_a_suspended_job_counts_nothing_and_goes_on_later(world: World) -> None:
    key = make(world, suspend=True)
    assert runs(world, COUNT) == []
    world.patch(key, {"spec": {"suspend": False}})
    world.settle(key)
    count = the_run(world, COUNT)
    world.patch(key, {"spec": {"suspend": True}})
    finish_count(world, count, ENOUGH)
    world.settle(key)
    pass_time(world, key, 7200)
    assert runs(world) == []
    world.patch(key, {"spec": {"suspend": False}})
    world.settle(key)
    assert len(runs(world)) == 1


@pytest.mark.parametrize("report", [None, {"examples": "many"}, {"examples": -1, "digest": "d"}])
def test_a_count_that_failed_says_why_and_is_made_again(world: World, report: Any) -> None:
    key = make(world)
    count = the_run(world, COUNT)
    if report is None:
        fail(world, count, "count")
    else:
        end(world, count, "Succeeded")
    world.settle(key)
    condition = world.condition(key, "Counted")
    assert condition["status"] == "False"
    assert condition["reason"] == ("Failed" if report is None else "BadReport")
    assert "again after 10m" in condition["message"]
    pass_time(world, key, 60)
    assert unfinished(world, COUNT) == []
    pass_time(world, key, 600)
    counted(world, key, ENOUGH)
    assert len(runs(world)) == 1


def test_a_count_that_somebody_deleted_is_made_again(world: World) -> None:
    key = make(world)
    count = the_run(world, COUNT)
    world.delete(count)
    world.settle(key)
    assert names(unfinished(world, COUNT)) == names([count])


def test_without_the_trigger_nothing_is_counted_and_nothing_is_left(world: World) -> None:
    key = make(world)
    counted(world, key, 1)
    world.patch(key, {"spec": {"triggers": {"newData": None, "schedule": "0 2 * * *"}}})
    world.settle(key)
    assert runs(world, COUNT) == []
    status = job_status(world, key)
    assert "newData" not in status
    assert "Counted" not in {one["type"] for one in status["conditions"]}


def test_a_job_of_the_same_name_counts_anew(world: World) -> None:
    key = make(world)
    counted(world, key, ENOUGH - 1)
    world.delete(key)
    world.settle(key)
    key = make(world)
    assert parameters(the_run(world, COUNT))["number"] == "1"


def test_a_lost_status_starts_no_second_run(world: World) -> None:
    key = make(world)
    counted(world, key, ENOUGH)
    run = the_run(world)
    finish_run(world, run, "Reject")
    world.settle(key)
    counted(world, key, 0, digest="")
    lost = dict.fromkeys(world.the(key)["status"])
    world.run(world.cluster.patch(key.ref, {"status": lost}, subresource="status"))
    world.settle(key)
    pass_time(world, key, 90000)
    assert names(runs(world)) == names([run])
