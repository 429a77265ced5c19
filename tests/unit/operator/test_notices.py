"""Notices of uploads: which of them ask for a sync, and what an index says of hearing them."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import NOON, World, rag_index

from nexus_api.meta import SYNC_REQUESTED, Manifest
from nexus_operator.build.events import EVENT_SOURCE, SENSOR
from nexus_operator.cluster.protocol import Ref
from nexus_operator.plan.looks import SETTLED_LOOK
from nexus_operator.plan.platform import MOST_ELSEWHERE
from nexus_operator.plan.ragindex import LOOK_AGAIN
from nexus_operator.reconcile.platform import reconcile_platform
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Events, Settings
from nexus_operator.status.conditions import timestamp

LISTENING = Settings(on_kubernetes=True, events=Events(source="webhook"))


@pytest.fixture
def world() -> Iterator[World]:
    world = World(LISTENING)
    yield world
    world.close()


def synced(world: World, name: str = "handbook", **spec: Any) -> Key:
    """An index whose first sync began at noon and ended a minute later."""
    key = world.create(rag_index(name, **spec))
    world.settle(key)
    world.advance(60)
    end_runs(world)
    world.settle(key)
    return key


def end_runs(world: World) -> int:
    running = [one for one in world.workflows() if not (one.get("status") or {}).get("phase")]
    for one in running:
        world.end_run(one, "Succeeded")
    return len(running)


def notice(world: World, key: Key, seconds: float) -> None:
    """A notice of an object that changed so many seconds after noon."""
    world.annotate(key, SYNC_REQUESTED, timestamp(NOON + timedelta(seconds=seconds)))


def look(world: World) -> timedelta | None:
    return world.run(reconcile_platform(world.cluster, world.settings))[0]


def listener(world: World, kind: tuple[str, str]) -> Manifest | None:
    return world.get(Ref(*kind, "nexus-system", "nexus-bucket"))


def test_notice_of_what_a_sync_has_seen_is_answered_without_another(world: World) -> None:
    key = synced(world)
    notice(world, key, -31)
    world.settle(key)
    assert end_runs(world) == 0
    status = world.the(key)["status"]
    assert status["lastSyncRequest"] == "2026-01-31T11:59:29Z"
    assert world.condition(key, "Synced")["status"] == "True"
    assert world.reconcile(key).writes == 0


@pytest.mark.parametrize("seconds", [-30, -1, 0, 59, 3600])
def test_notice_that_a_sync_may_have_missed_asks_for_another(world: World, seconds: int) -> None:
    key = synced(world)
    notice(world, key, seconds)
    world.settle(key)
    assert end_runs(world) == 1


@pytest.mark.parametrize("value", ["upload-7", "2026-01-31", "2020-01-01T00:00:00", "yesterday"])
def test_any_other_value_always_asks(world: World, value: str) -> None:
    key = synced(world)
    world.annotate(key, SYNC_REQUESTED, value)
    world.settle(key)
    assert end_runs(world) == 1


def test_failed_sync_answers_no_notice(world: World) -> None:
    key = synced(world)
    world.annotate(key, SYNC_REQUESTED, "again")
    world.settle(key)
    (running,) = [one for one in world.workflows() if not (one.get("status") or {}).get("phase")]
    world.end_run(running, "Failed")
    notice(world, key, -3600)
    world.advance(10)
    world.settle(key)
    assert end_runs(world) == 1


def test_answer_outlives_the_run_that_gave_it(world: World) -> None:
    key = synced(world)
    notice(world, key, -60)
    world.settle(key)
    for one in world.workflows():
        world.delete(one)
    world.settle(key)
    assert world.workflows() == []


def test_burst_of_a_thousand_uploads_makes_few_syncs(world: World) -> None:
    """Uploaded in ten seconds, told at 2.5 a second: the speed of a stock Sensor."""
    key = synced(world)
    began, syncs, busy = 120.0, 0, 0.0
    world.advance(60)
    for number in range(1000):
        notice(world, key, began + number / 100)
        world.advance(0.4)
        world.settle(key)
        busy += 0.4
        if busy >= 5:
            syncs, busy = syncs + end_runs(world), 0.0
            world.settle(key)
        waiting = [one for one in world.workflows() if not (one.get("status") or {}).get("phase")]
        assert len(waiting) <= 1
    assert 1 <= syncs <= 12


def test_upload_during_a_sync_is_indexed_though_an_older_notice_comes_again(world: World) -> None:
    key = synced(world)
    world.advance(3600)
    notice(world, key, 3660)
    world.settle(key)  # a sync that began at 13:01
    world.advance(120)
    notice(world, key, 3780)
    world.settle(key)
    notice(world, key, 3660)  # what the store had sent already
    world.settle(key)
    assert end_runs(world) == 1
    world.settle(key)
    assert end_runs(world) == 1
    world.settle(key)
    assert end_runs(world) == 0
    assert world.reconcile(key).writes == 0


@pytest.mark.parametrize("hurdle", ["suspended", "failed"])
def test_upload_before_a_hurdle_is_indexed_after_it(world: World, hurdle: str) -> None:
    key = synced(world, sync={"interval": "720h"})
    world.advance(3600)
    if hurdle == "suspended":
        world.patch(key, {"spec": {"source": {"suspend": True}}})
    else:
        world.annotate(key, SYNC_REQUESTED, "again")
        world.settle(key)
        (running,) = [one for one in world.workflows() if not one.get("status")]
        world.end_run(running, "Failed")
    notice(world, key, 3660)
    world.settle(key)
    notice(world, key, -3600)
    world.settle(key)
    world.patch(key, {"spec": {"source": {"suspend": False}}})
    world.advance(10)
    world.settle(key)
    assert end_runs(world) == 1
    world.settle(key)
    assert end_runs(world) == 0


@settings(deadline=None, max_examples=40)
@given(
    news=st.lists(
        st.tuples(st.sampled_from(["upload", "replay", "person"]), st.integers(0, 200)),
        max_size=8,
    ),
    replays=st.randoms(use_true_random=False),
)
def test_whatever_order_notices_come_in_the_last_upload_is_indexed(
    news: list[tuple[str, int]], replays: random.Random
) -> None:
    """And one more sync is enough for all that was told during the first."""
    world = World(LISTENING)
    try:
        key = synced(world)
        world.advance(3600)
        told = [timestamp(NOON + timedelta(seconds=n)) for n in (-300, -30, 0, 3600)]
        world.annotate(key, SYNC_REQUESTED, told[-1])
        world.settle(key)
        asked = 0
        for number, (kind, wait) in enumerate(news):
            world.advance(wait)
            if kind == "upload":
                told.append(timestamp(world.now))
            elif kind == "person":
                told.append(f"person-{number}")
            again = kind == "replay"
            asked += not again
            world.annotate(key, SYNC_REQUESTED, replays.choice(told) if again else told[-1])
            world.settle(key)
        syncs = -1  # without the one that was under way
        while end_runs(world):
            syncs += 1
            world.settle(key)
        assert syncs == 1 or not asked, "what was told during a sync was forgotten"
        assert syncs <= 1
        status = world.the(key)["status"]
        assert "pendingRequest" not in status
        assert world.reconcile(key).writes == 0
    finally:
        world.close()


# -- the listener


def test_listener_comes_with_the_first_index_and_goes_with_the_last(world: World) -> None:
    assert look(world) is None
    assert listener(world, SENSOR) is None
    key = synced(world, sync={"interval": "720h"})
    assert world.condition(key, "Notified")["reason"] == "Starting"
    assert world.reconcile(key).requeue_after == LOOK_AGAIN, "it would be said until the interval"
    look(world)
    assert listener(world, EVENT_SOURCE) is not None
    assert listener(world, SENSOR) is not None
    writes = sum(world.cluster.writes.values())
    look(world)
    assert sum(world.cluster.writes.values()) == writes
    world.settle(key)
    assert world.condition(key, "Notified")["status"] == "True"
    world.delete(key)
    look(world)
    assert listener(world, EVENT_SOURCE) is None
    assert listener(world, SENSOR) is None


def test_listener_changed_by_hand_is_put_back(world: World) -> None:
    synced(world)
    look(world)
    before = listener(world, SENSOR)
    assert before is not None
    ref = Ref(*SENSOR, "nexus-system", "nexus-bucket")
    world.run(world.cluster.patch(ref, {"spec": {"triggers": []}}))
    look(world)
    after = listener(world, SENSOR)
    assert after is not None
    assert after["spec"] == before["spec"]


def test_somebody_elses_listener_is_left_alone(world: World) -> None:
    metadata = {"name": "nexus-bucket", "namespace": "nexus-system"}
    theirs = {"apiVersion": SENSOR[0], "kind": SENSOR[1], "metadata": metadata, "spec": {"a": 1}}
    world.create(theirs)
    synced(world)
    look(world)
    found = listener(world, SENSOR)
    assert found is not None
    assert found["spec"] == {"a": 1}


def test_without_argo_events_an_index_is_ready_and_says_that_it_looks_by_itself(
    world: World,
) -> None:
    world.cluster.missing = {"EventSource", "Sensor"}
    key = synced(world)
    assert look(world) == timedelta(minutes=1)
    told = world.condition(key, "Notified")
    assert (told["status"], told["reason"]) == ("False", "ArgoEventsMissing")
    assert told["message"].endswith("the index looks every 5m instead.")
    assert world.condition(key)["status"] == "True"
    world.cluster.missing = set()
    look(world)
    assert listener(world, SENSOR) is not None


def test_a_listener_that_argo_events_cannot_start_is_told_of_in_its_words(world: World) -> None:
    key = synced(world, sync={"interval": "720h"})
    look(world)
    sensor = Ref(*SENSOR, "nexus-system", "nexus-bucket")
    provided = {"type": "TriggersProvided", "status": "True"}
    failed = {"type": "Deployed", "status": "False", "message": "EventBus not found."}
    world.run(world.cluster.patch(sensor, {"status": {"conditions": [provided, failed]}}))
    world.settle(key)
    told = world.condition(key, "Notified")
    assert (told["status"], told["reason"]) == ("False", "Starting")
    assert "Argo Events has not started the listener (EventBus not found)" in told["message"]
    assert world.reconcile(key).requeue_after == LOOK_AGAIN
    started = {"type": "Deployed", "status": "True"}
    world.run(world.cluster.patch(sensor, {"status": {"conditions": [provided, started]}}))
    world.settle(key)
    assert world.condition(key, "Notified")["reason"] == "Listening"


@pytest.mark.parametrize("spec", [{}, {"source": {"suspend": True}}], ids=["waits", "suspended"])
def test_argo_events_that_come_are_told_of_before_the_interval(
    world: World, spec: Manifest
) -> None:
    world.cluster.missing = {"EventSource", "Sensor"}
    key = synced(world, sync={"interval": "720h"})
    world.patch(key, {"spec": spec})
    world.settle(key)
    assert world.condition(key, "Notified")["reason"] == "ArgoEventsMissing"
    assert world.reconcile(key).requeue_after == SETTLED_LOOK
    world.cluster.missing = set()
    look(world)
    world.settle(key)
    assert world.condition(key, "Notified")["reason"] == "Listening"


def test_without_argo_workflows_an_index_says_so_and_goes_on_when_they_come(world: World) -> None:
    world.cluster.missing = {"Workflow"}
    key = world.create(rag_index())
    world.settle(key)
    assert world.condition(key)["reason"] == "ArgoWorkflowsMissing"
    assert world.reconcile(key).requeue_after is not None
    world.cluster.missing = set()
    world.settle(key)
    assert len(world.workflows()) == 1


def test_deletion_without_argo_workflows_waits_and_tells_the_way_out(world: World) -> None:
    key = synced(world)
    world.cluster.missing = {"Workflow"}
    world.delete(key)
    world.settle(key)
    told = world.condition(key)
    assert told["reason"] == "ArgoWorkflowsMissing"
    assert "llmops.nexus/force-release" in told["message"]


def test_platform_that_does_not_listen_says_so(world: World) -> None:
    world.settings = replace(LISTENING, events=Events(source="none"))
    key = synced(world)
    assert world.condition(key, "Notified")["reason"] == "NoticesOff"
    assert look(world) is None


def test_listener_goes_when_the_platform_does_not_listen_any_more(world: World) -> None:
    synced(world)
    look(world)
    assert listener(world, SENSOR) is not None
    world.settings = replace(LISTENING, events=Events(source="none"))
    assert look(world) is None
    assert (listener(world, SENSOR), listener(world, EVENT_SOURCE)) == (None, None)


def test_laptop_has_no_such_condition(world: World) -> None:
    world.settings = Settings()
    assert world.condition(synced(world), "Notified") == {}


def test_index_that_the_listener_has_no_room_for_says_so(world: World) -> None:
    for number in range(MOST_ELSEWHERE + 1):
        prefix = {"prefix": f"default/place-{number}/"}
        world.create(rag_index(f"index-{number:02}", source=prefix))
    look(world)
    made = listener(world, SENSOR)
    assert made is not None
    assert len(made["spec"]["triggers"]) == MOST_ELSEWHERE + 1
    told = []
    for number in (0, MOST_ELSEWHERE):
        key = Key("RagIndex", "default", f"index-{number:02}")
        world.settle(key)
        told.append(world.condition(key, "Notified")["reason"])
    assert told == ["Listening", "TooManyPrefixes"]


def test_an_index_with_a_bucket_of_its_own_looks_by_itself(world: World) -> None:
    own = rag_index(source={"bucket": "mine", "secretRef": {"name": "mine-keys"}})
    own["metadata"]["namespace"] = LISTENING.platform_namespace
    key = world.create(own)
    world.settle(key)
    condition = world.condition(key, "Notified")
    assert (condition["status"], condition["reason"]) == ("False", "OwnBucket")
