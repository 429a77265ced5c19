"""A job that is deleted ends the run of which no watch has told yet, and takes it along."""

from collections.abc import Iterator

import pytest
from small_world import World
from tuning import TEARDOWN, end, fine_tune_job, let_go, runs, the_run

from nexus_api.meta import API_VERSION, RUN_REQUESTED
from nexus_operator.cluster.protocol import WatchEvent
from nexus_operator.cluster.view import View
from nexus_operator.reconcile.observe import WORKFLOW
from nexus_operator.reconcile.reconcile import Key, reconcile


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def view_without_workflows(world: World) -> View:
    """What an operator knows whose watch of Workflows lags behind its answers, which got lost."""
    view = View(world.cluster, complete=[WORKFLOW], single=[(API_VERSION, "FineTuneJob")])
    view.expect(*WORKFLOW, None)
    view.feed(*WORKFLOW, WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "1"}}))
    return view


def deleted(world: World, key: Key) -> None:
    world.delete(key)
    view = view_without_workflows(world)

    def look() -> None:
        world.run(reconcile(view, key, world.settings, lambda: world.now))

    look()
    assert the_run(world)["spec"]["shutdown"] == "Terminate"
    assert runs(world, TEARDOWN) == []
    end(world, the_run(world), "Failed")
    [over] = [one for one in runs(world) if one["spec"].get("shutdown")]
    view.feed(*WORKFLOW, WatchEvent("MODIFIED", over))
    look()
    assert runs(world) == []
    view.feed(*WORKFLOW, WatchEvent("DELETED", over))
    look()
    assert len(runs(world, TEARDOWN)) == 1
    let_go(world, key)
    assert world.workflows() == []


@pytest.mark.parametrize("reconciles", [1, 3], ids=["made before any status", "told"])
def test_the_first_run_goes_with_its_job(world: World, reconciles: int) -> None:
    key = world.create(fine_tune_job())
    for _ in range(reconciles):
        world.reconcile(key, hurry=reconciles == 1)
    assert len(runs(world)) == 1
    deleted(world, key)


def test_so_does_a_later_one(world: World) -> None:
    key = world.create(fine_tune_job())
    world.settle(key)
    end(world, runs(world)[0], "Failed")
    world.settle(key)
    world.advance(60)
    world.annotate(key, RUN_REQUESTED, "again")
    world.reconcile(key)
    assert len(runs(world)) == 2
    [old] = [one for one in runs(world) if one.get("status")]
    world.delete(old)
    deleted(world, key)
