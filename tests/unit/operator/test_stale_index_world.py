"""An alert's run waits for the index that the model answers from; nothing else does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import NOON, World, rag_index, serving_model
from tuning import end, fine_tune_job, finish_run, job_status, parameters, runs, the_run, unfinished

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import ALERT_REQUESTED, RUN_REQUESTED, SYNC_REQUESTED, Manifest
from nexus_operator.cluster.errors import Forbidden
from nexus_operator.cluster.protocol import Ref
from nexus_operator.plan.model import Seen
from nexus_operator.plan.tuning_schedule import last_start, next_run
from nexus_operator.plan.tuning_triage import HELD, LONGEST_HOLD, alert_hold
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.status.tuning_history import Newest

ALERT = "alert:f00d:2026-01-31T11:59:00Z"
LATER = "alert:beef:2026-01-31T15:00:00Z"
INDEX = Key("RagIndex", "default", "handbook")
LISTENING: dict[str, Any] = {
    "promotion": {"servingModelRef": {"name": "assistant"}},
    "triggers": {"alerts": [{"matchers": {"alertname": "Low"}}], "cooldown": "2h"},
}


def make(world: World, **spec: Any) -> Key:
    """A job that listens to alerts, for a model that answers from an index without a sync."""
    world.create(rag_index())
    world.create(serving_model(knowledge={"ragIndexRef": {"name": "handbook"}}))
    key = world.create(fine_tune_job(**{**LISTENING, **spec}))
    world.settle(key)
    return key


def synced(world: World, *, holds: bool = True, reason: str = "UpToDate") -> None:
    """The index was synced now; what came of it."""
    at = world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "Synced",
        "status": "True" if holds else "False",
        "reason": reason,
        "message": "",
        "lastTransitionTime": at,
    }
    world.set_status(world.the(INDEX), {"lastSyncTime": at, "conditions": [condition]})


def alert(world: World, key: Key, value: str = ALERT) -> None:
    world.annotate(key, ALERT_REQUESTED, value)
    world.settle(key)


def wish(world: World) -> str:
    found = world.the(INDEX)["metadata"].get("annotations") or {}
    return str(found.get(SYNC_REQUESTED, ""))


def test_an_alert_asks_for_a_sync_while_the_index_is_stale_and_for_a_run_once_it_is_fresh(
    world: World,
) -> None:
    key = make(world)
    synced(world, holds=False, reason="SyncFailed")
    alert(world, key)
    assert runs(world) == []
    assert wish(world) == ALERT
    held = world.condition(key, HELD)
    assert (held["status"], held["reason"]) == ("True", "IndexStale")
    assert "handbook is not synced (SyncFailed)" in held["message"]
    assert "2026-01-31T13:00:00Z" in held["message"]
    assert "(Alert)" in world.condition(key, "Running")["message"]
    synced(world)
    world.settle(key)
    run = the_run(world)
    assert parameters(run)["request"] == f"run:{ALERT}"
    assert world.condition(key, HELD) == {}


def test_a_fresh_index_and_a_suspended_one_hold_nothing(world: World) -> None:
    key = make(world)
    synced(world)
    alert(world, key)
    assert len(unfinished(world)) == 1
    finish_run(world, the_run(world), "Reject")
    world.patch(INDEX, {"spec": {"source": {"suspend": True}}})
    world.advance(5 * 3600)
    alert(world, key, LATER)
    assert len(unfinished(world)) == 1
    assert wish(world) == ""


def test_a_sync_is_asked_for_once_for_an_alert_and_nothing_is_written_after_that(
    world: World,
) -> None:
    key = make(world)
    alert(world, key)
    world.annotate(INDEX, SYNC_REQUESTED, "2026-01-31T12:00:10Z")  # a document came
    versions = [world.the(one)["metadata"]["resourceVersion"] for one in (key, INDEX)]
    for _ in range(5):
        world.advance(30)
        result = world.reconcile(key)
        assert result.writes == 0
        assert result.requeue_after is not None
        assert result.requeue_after <= timedelta(seconds=30)
    assert versions == [world.the(one)["metadata"]["resourceVersion"] for one in (key, INDEX)]


def test_a_sync_that_was_asked_for_before_the_status_could_be_written_is_not_asked_for_again(
    world: World,
) -> None:
    key = make(world)
    alert(world, key)
    world.set_status(world.the(key), {"conditions": None})
    version = world.the(INDEX)["metadata"]["resourceVersion"]
    world.settle(key)
    assert world.the(INDEX)["metadata"]["resourceVersion"] == version


def test_a_hold_ends_and_says_that_the_index_is_stale_still(world: World) -> None:
    key = make(world)
    alert(world, key)
    world.advance(LONGEST_HOLD.total_seconds() - 1)
    world.settle(key)
    assert runs(world) == []
    world.advance(1)
    world.settle(key)
    run = the_run(world)
    assert job_status(world, key)["lastRun"]["cause"] == "Alert"
    held = world.condition(key, HELD)
    assert (held["status"], held["reason"]) == ("False", "HeldLongEnough")
    assert "handbook was never synced" in held["message"]
    finish_run(world, run, "Reject")
    world.settle(key)
    assert world.condition(key, HELD) == {}
    world.advance(3 * 3600)
    alert(world, key, LATER)  # another alert, another hold, another sync
    assert unfinished(world) == []
    assert wish(world) == LATER
    assert world.condition(key, HELD)["status"] == "True"


def test_a_person_is_never_held_and_answers_the_alert_too(world: World) -> None:
    key = make(world)
    alert(world, key)
    world.advance(60)
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    run = the_run(world)
    assert parameters(run)["request"] == "run:ada-1"
    assert world.condition(key, HELD) == {}
    finish_run(world, run, "Reject")
    world.settle(key)
    world.advance(5 * 3600)
    world.settle(key)
    assert unfinished(world) == []


def test_the_schedule_is_not_held(world: World) -> None:
    key = make(world, triggers={**LISTENING["triggers"], "schedule": "30 * * * *"})
    alert(world, key)
    world.advance(1800)
    world.settle(key)
    assert job_status(world, key)["lastRun"]["cause"] == "Schedule"


def test_during_the_cooldown_no_sync_is_asked_for(world: World) -> None:
    key = make(world)
    synced(world)
    alert(world, key)
    end(world, the_run(world), "Failed")
    world.advance(600)
    synced(world, holds=False, reason="Running")
    alert(world, key, "alert:beef:2026-01-31T12:05:00Z")
    assert wish(world) == ""
    world.advance(7200)
    world.settle(key)
    assert wish(world) == "alert:beef:2026-01-31T12:05:00Z"
    assert unfinished(world) == []


@pytest.mark.parametrize("gone", ["index", "knowledge"])
def test_where_there_is_no_index_nothing_is_held(world: World, gone: str) -> None:
    key = make(world)
    if gone == "index":
        world.delete(INDEX)
    else:
        world.patch(Key("ServingModel", "default", "assistant"), {"spec": {"knowledge": None}})
    alert(world, key)
    assert len(unfinished(world)) == 1


def test_an_index_that_goes_as_it_is_asked_stops_nothing(world: World) -> None:
    key = make(world)
    world.annotate(key, ALERT_REQUESTED, ALERT)
    length = len(world.cluster.history)
    world.delete(INDEX)
    back = len(world.cluster.history) - length
    world.reconcile_with_old_view(key, back=back, resource_back=0)
    assert world.condition(key, HELD)["status"] == "True"
    world.settle(key)
    assert len(unfinished(world)) == 1


def test_a_sync_that_may_not_be_asked_for_shows_on_the_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make(world)
    world.annotate(key, ALERT_REQUESTED, ALERT)
    patch = world.cluster.patch

    async def guarded(ref: Ref, body: Manifest, *, subresource: str = "") -> Manifest:
        if ref.kind == "RagIndex":
            raise Forbidden("ragindexes may not be patched")
        return await patch(ref, body, subresource=subresource)

    monkeypatch.setattr(world.cluster, "patch", guarded)
    world.reconcile(key)
    refused = world.condition(key, "Refused")
    assert refused["reason"] == "Forbidden"
    assert "RagIndex default/handbook" in refused["message"]
    assert world.condition(key, HELD)["status"] == "True"


MINUTES = st.integers(0, 400)


@settings(deadline=None, max_examples=60)
@given(
    told=MINUTES,
    stale_from=MINUTES,
    stale_for=MINUTES,
    ran=st.none() | MINUTES,
    by_hand=st.none() | MINUTES,
)
def test_an_alert_is_held_for_as_long_as_the_index_is_stale_and_never_longer_than_the_longest(
    told: int, stale_from: int, stale_for: int, ran: int | None, by_hand: int | None
) -> None:
    """A clock of one minute, with the very functions that a plan calls."""
    job = fine_tune_job(**LISTENING)
    began = (NOON + timedelta(minutes=told)).strftime("%Y-%m-%dT%H:%M:%SZ")
    newest = None if ran is None else _ran(NOON - timedelta(minutes=ran))
    conditions: list[Manifest] = []
    since: datetime | None = None
    for minute in range(told, 1300):
        now = NOON + timedelta(minutes=minute)
        notes = {ALERT_REQUESTED: f"alert:f:{began}"}
        asked = by_hand is not None and minute >= by_hand
        if asked:
            notes[RUN_REQUESTED] = "ada-1"
        job["metadata"] = {"name": "tuning", "namespace": "default", "annotations": notes}
        job["status"] = {"conditions": conditions}
        stale = stale_from <= minute < stale_from + stale_for
        seen = Seen(references=(_model(), _index(now, stale=stale)))
        parsed = FineTuneJob.model_validate(job)
        hold = alert_hold(parsed, newest, seen, now)
        last = last_start(newest)
        due = next_run(parsed, last, now, held_until=hold.until if hold else None)
        assert due is not None
        rested = max(now, last.at + timedelta(hours=2)) if last else now
        if asked:
            assert (due.cause, due.at) == ("Requested", now)
            return
        if not stale or now < rested:
            assert hold is None
            assert due.at == rested
        if hold is not None:
            since = since or now
            assert hold.asks == (since == now)
            assert hold.until == since + LONGEST_HOLD
            conditions = [_held(since)]
        else:
            since, conditions = None, []
        if due.at <= now:
            assert due.cause == "Alert"
            assert not stale or (since is not None and now >= since + LONGEST_HOLD)
            return
    raise AssertionError("the alert never started a run")


def _ran(started: datetime) -> Newest:
    return Newest(
        name="r", state="ended", started=started, cause="First", request="", fingerprint=""
    )


def _model() -> Manifest:
    return serving_model(knowledge={"ragIndexRef": {"name": "handbook"}})


def _index(now: datetime, *, stale: bool) -> Manifest:
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "Synced",
        "status": "False" if stale else "True",
        "reason": "SyncFailed" if stale else "UpToDate",
        "lastTransitionTime": at,
    }
    return {**rag_index(), "status": {"lastSyncTime": at, "conditions": [condition]}}


def _held(since: datetime) -> Manifest:
    at = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": HELD, "status": "True", "reason": "IndexStale", "lastTransitionTime": at}
