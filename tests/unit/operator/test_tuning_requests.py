"""What a FineTuneJob has answered stays answered for as long as its annotations ask for it."""

from typing import Any

from small_world import World
from tuning import (
    fine_tune_job,
    finish_move,
    finish_run,
    job_status,
    node,
    runs,
    the_run,
    unfinished,
    working,
)

from nexus_api.alerts import MOST_ALERTS
from nexus_api.meta import (
    ALERT_REQUESTED,
    CANCEL_REQUESTED,
    PROMOTE_REQUESTED,
    ROLLBACK_REQUESTED,
    RUN_REQUESTED,
)
from nexus_operator.plan.tuning_requests import MOST_ANSWERED
from nexus_operator.reconcile.reconcile import Key

MANY = MOST_ANSWERED + 4


def make(world: World, **spec: Any) -> Key:
    """A job whose first run is over."""
    key = world.create(fine_tune_job(**spec))
    world.settle(key)
    finish(world, key)
    return key


def finish(world: World, key: Key) -> None:
    finish_run(world, the_run(world), "Reject")
    world.settle(key)


def ask(world: World, key: Key, annotation: str, value: str) -> None:
    world.advance(60)
    world.annotate(key, annotation, value)
    world.settle(key)


def test_a_run_that_was_asked_for_once_is_not_made_again_however_much_follows(
    world: World,
) -> None:
    key = make(world)
    ask(world, key, RUN_REQUESTED, "ada-1")
    finish(world, key)
    for number in range(MANY):
        ask(world, key, ALERT_REQUESTED, f"alert:f{number}:2026-01-30T00:00:00Z")
        assert unfinished(world) == []


def test_an_old_cancellation_ends_no_later_run_however_many_there_are(world: World) -> None:
    key = make(world)
    ask(world, key, CANCEL_REQUESTED, "ada-0")
    for number in range(MANY):
        ask(world, key, RUN_REQUESTED, f"ada-{number}")
        run = the_run(world)
        working(world, run, node(world, "train", "Running"))
        world.settle(key)
        assert "shutdown" not in the_run(world)["spec"]
        finish(world, key)


def test_two_full_groups_of_alerts_leave_room_for_what_else_was_answered(world: World) -> None:
    """One is where an older release's listener wrote it, and stays there."""
    listening = {"alerts": [{"matchers": {"a": "b"}}], "cooldown": "1h"}
    key = world.create(fine_tune_job(triggers=listening))
    ask(world, key, PROMOTE_REQUESTED, "1 by ada")
    finish_move(world, runs(world, "nexus-release")[0])
    ask(world, key, CANCEL_REQUESTED, "ada-0")
    ask(world, key, ROLLBACK_REQUESTED, "by bob")
    for move in runs(world, "nexus-release"):
        world.delete(move)
    told = [f"alert:{number:02}:2026-01-30T00:00:00Z" for number in range(2 * MOST_ALERTS)]
    ask(world, key, RUN_REQUESTED, ",".join(told[:MOST_ALERTS]))
    ask(world, key, ALERT_REQUESTED, ",".join(told[MOST_ALERTS:]))
    world.advance(2 * 3600)
    world.settle(key)
    assert runs(world, "nexus-release") == []
    assert len(runs(world)) <= 2


def test_more_workflows_than_answers_that_are_kept_write_nothing_new(world: World) -> None:
    key = make(world, runsKept=100)
    for number in range(MANY):
        ask(world, key, RUN_REQUESTED, f"ada-{number}")
        finish(world, key)
    answered = job_status(world, key)["answered"]
    assert answered[-1] == f"run:ada-{MANY - 1}"
    version = world.the(key)["metadata"]["resourceVersion"]
    world.settle(key)
    assert world.the(key)["metadata"]["resourceVersion"] == version
