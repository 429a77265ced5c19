"""A clock that was wrong, or that differs from another, stops no run and makes none of its own."""

from datetime import timedelta
from typing import Any

import pytest
from small_world import World, rag_index
from tuning import (
    fail,
    fine_tune_job,
    finish_count,
    finish_run,
    job_status,
    the_run,
    unfinished,
)

from nexus_api.meta import ALERT_REQUESTED, FINALIZER, LINEAGE, SYNC_REQUESTED
from nexus_operator.objects import moment, name_of
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


def live(world: World, key: Key, trigger: str, hours: int) -> list[str]:
    """So many hours in which each run ends at once; returns the runs that ended."""
    done = []
    for hour in range(hours):
        if trigger == "alert":
            world.annotate(key, ALERT_REQUESTED, f"alert:a{hour}:{world.now:%Y-%m-%dT%H:%M:%SZ}")
        for _ in range(2):
            world.advance(1800)
            world.settle(key)
            for run in unfinished(world):
                finish_run(world, run, "Reject")
                done.append(str(run["metadata"]["name"]))
            for count in unfinished(world, "nexus-count"):
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
    assert all(told)
    assert abs(len(told[1]) - len(told[0])) <= 1


def test_a_restored_job_asks_the_registry_again_after_the_clock_was_ahead(world: World) -> None:
    job = fine_tune_job()
    job["metadata"]["annotations"] = {LINEAGE: "former"}
    key = world.create(job)
    world.settle(key)
    world.now += YEAR
    fail(world, the_run(world, "nexus-release"), "recover")
    world.settle(key)
    world.now -= YEAR
    world.settle(key)
    assert len(unfinished(world, "nexus-release")) == 1
    assert "champion" not in job_status(world, key)


def going(world: World) -> list[dict[str, Any]]:
    return [one for one in world.workflows() if not (one.get("status") or {}).get("phase")]


def syncs(world: World, key: Key, hours: int, phase: str = "Succeeded", **options: Any) -> int:
    """So many hours in which each sync ends at once, as `phase`; returns how many ended."""
    done = 0
    for _ in range(hours * 4):
        world.advance(900)
        world.settle(key)
        for run in going(world):
            world.end_run(run, phase, **options)
            done += 1
    world.settle(key)
    return done


@pytest.mark.parametrize("kept", [True, False])
def test_an_index_follows_its_interval_after_the_clock_was_a_year_ahead(
    world: World, *, kept: bool
) -> None:
    world.now += YEAR
    key = world.create(rag_index(sync={"interval": "1h"}))
    assert syncs(world, key, 5) >= 4
    world.now -= YEAR
    if not kept:
        for run in world.workflows():
            world.delete(run)
    world.settle(key)
    told = moment(world.the(key)["status"]["lastSyncTime"])
    assert told is not None
    assert told <= world.now, "who looks is told that it was synced next year"
    assert 3 <= syncs(world, key, 5) <= 6


def test_an_index_follows_its_interval_in_a_cluster_whose_clock_is_ahead_for_good(
    world: World,
) -> None:
    ahead = timedelta(hours=3)
    world.cluster.clock = lambda: world.now + ahead
    key = world.create(rag_index(sync={"interval": "1h"}))
    done = 0
    for _ in range(20):
        world.advance(900)
        world.settle(key)
        for run in going(world):
            world.now += ahead
            world.end_run(run, "Succeeded")
            world.now -= ahead
            done += 1
    assert 4 <= done <= 6


@pytest.mark.parametrize(
    ("phase", "options", "kept"),
    [("Failed", {}, True), ("Failed", {}, False), ("Succeeded", {"pending": 2}, True)],
)
def test_a_sync_is_tried_again_after_the_clock_was_a_year_ahead(
    world: World, phase: str, options: dict[str, Any], *, kept: bool
) -> None:
    world.now += YEAR
    key = world.create(rag_index(sync={"interval": "720h"}))
    assert syncs(world, key, 1, phase, **options)
    world.now -= YEAR
    if not kept:
        for run in world.workflows():
            world.delete(run)
    assert syncs(world, key, 1, phase, **options) >= 2


def test_an_upload_is_synced_after_the_clock_was_a_year_ahead(world: World) -> None:
    world.now += YEAR
    key = world.create(rag_index(sync={"interval": "720h"}))
    assert syncs(world, key, 1)
    world.now -= YEAR
    world.settle(key)
    world.annotate(key, SYNC_REQUESTED, f"{world.now:%Y-%m-%dT%H:%M:%SZ}")
    assert syncs(world, key, 1) == 1


def test_an_index_is_torn_down_after_the_clock_was_a_year_ahead(world: World) -> None:
    key = world.create(rag_index())
    world.settle(key)
    world.now += YEAR
    world.delete(key)
    assert syncs(world, key, 2, "Failed")
    world.now -= YEAR
    assert FINALIZER in world.the(key)["metadata"]["finalizers"]
    tried = {name_of(run) for run in world.workflows()}
    assert syncs(world, key, 2, "Failed") >= 2
    assert {name_of(run) for run in world.workflows()} > tried
    assert syncs(world, key, 2)
    assert world.get(key.ref) is None
