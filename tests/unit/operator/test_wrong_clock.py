"""A clock that was wrong, or that differs from another, stops no run and makes none of its own."""

from datetime import timedelta
from typing import Any

import pytest
from small_world import World
from tuning import ended, fail, fine_tune_job, finish_count, finish_run, job_status, runs

from nexus_api.meta import ALERT_REQUESTED, LINEAGE, Manifest
from nexus_operator.reconcile.reconcile import Key

YEAR = timedelta(days=365)
TRIGGERS: dict[str, dict[str, Any]] = {
    "schedule": {"schedule": "0 */4 * * *", "cooldown": "1h"},
    "alert": {"alerts": [{"matchers": {"alertname": "Low"}}], "cooldown": "1h"},
    "newData": {"newData": {"minExamples": 10, "checkInterval": "1h"}, "cooldown": "1h"},
}


def make(world: World, trigger: str) -> Key:
    key = world.create(fine_tune_job(triggers=TRIGGERS[trigger]))
    world.settle(key)
    return key


def open_ones(world: World, what: str) -> list[Manifest]:
    return [one for one in runs(world, what) if not ended(one)]


def live(world: World, key: Key, trigger: str, hours: int) -> list[str]:
    """So many hours in which each run ends at once; returns the runs that ended."""
    done = []
    for hour in range(hours):
        if trigger == "alert":
            world.annotate(key, ALERT_REQUESTED, f"alert:a{hour}:{world.now:%Y-%m-%dT%H:%M:%SZ}")
        for _ in range(2):
            world.advance(1800)
            world.settle(key)
            for run in open_ones(world, "nexus-finetune"):
                finish_run(world, run, "Reject")
                done.append(str(run["metadata"]["name"]))
            for count in open_ones(world, "nexus-count"):
                finish_count(world, count, 10, digest=f"{world.now:%j%H%M}")
    return done


@pytest.mark.parametrize("trigger", list(TRIGGERS))
def test_runs_go_on_after_the_clock_was_a_year_ahead(world: World, trigger: str) -> None:
    world.now += YEAR
    key = make(world, trigger)
    assert live(world, key, trigger, 5)
    world.now -= YEAR
    assert 1 <= len(live(world, key, trigger, 5)) <= 6


@pytest.mark.parametrize("trigger", list(TRIGGERS))
def test_a_cluster_whose_clock_is_ahead_for_good_is_run_as_often_as_any(
    world: World, trigger: str
) -> None:
    usual = World()
    told = [live(usual, make(usual, trigger), trigger, 9)]
    usual.close()
    world.cluster.clock = lambda: world.now + timedelta(hours=3)
    told.append(live(world, make(world, trigger), trigger, 9))
    assert abs(len(told[1]) - len(told[0])) <= 1


def test_a_restored_job_asks_the_registry_again_after_the_clock_was_ahead(world: World) -> None:
    job = fine_tune_job()
    job["metadata"]["annotations"] = {LINEAGE: "former"}
    key = world.create(job)
    world.settle(key)
    world.now += YEAR
    fail(world, open_ones(world, "nexus-release")[0], "recover")
    world.settle(key)
    world.now -= YEAR
    world.settle(key)
    assert len(open_ones(world, "nexus-release")) == 1
    assert "champion" not in job_status(world, key)
