"""The listener on alerts: what it is made of, and for whom it is there."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest
from golden_files import assert_golden
from hypothesis import given
from hypothesis import strategies as st
from small_world import World
from tuning import fine_tune_job

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_operator.build.alerts import Alerted, alert_sensor, alert_source, picking
from nexus_operator.build.events import SENSOR
from nexus_operator.cluster.protocol import Ref, WatchEvent
from nexus_operator.plan.alerts import plan_alerts
from nexus_operator.plan.model import Seen
from nexus_operator.reconcile.platform import reconcile_platform
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.reconcile.routes import PLATFORM, Routes, children
from nexus_operator.settings import Events, Owner, Settings

LOW = (("alertname", "NexusQualityDrop"), ("model", "technician"))
JOB = Alerted("default", "tuning", (LOW, (("severity", "page"),)))


def settings(**events: Any) -> Settings:
    owner = Owner(name="nexus-operator", uid="u-9")
    return Settings(on_kubernetes=True, events=Events(alerts=True, **events), owner=owner)


def job(name: str = "tuning", *matchers: dict[str, str], **more: Any) -> FineTuneJob:
    alerts = [{"matchers": one} for one in matchers]
    triggers = {"triggers": {"alerts": alerts}} if alerts else {}
    return FineTuneJob.model_validate({**fine_tune_job(name, **triggers), **more})


@pytest.fixture
def world() -> Iterator[World]:
    made = World(settings())
    yield made
    made.close()


def test_source_and_sensor() -> None:
    made = settings(alerts_secret="nexus-alerts")
    assert_golden("alerts-source", alert_source(made))
    assert_golden("alerts-sensor", alert_sensor(made, [JOB]))


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=3))
def test_what_a_user_writes_stays_text_within_the_template(labels: list[tuple[str, str]]) -> None:
    template = picking(Alerted("a", "b", (tuple(labels),)), ".Input.body.alerts")
    actions = re.findall(r"\{\{(.*?)\}\}", template)
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', template)
    assert all(re.fullmatch(r"[ -~]*", one) for one in actions)
    told = [re.sub(r"\\U(.{8})", lambda m: chr(int(m[1], 16)), one) for one in strings]
    for name, value in labels:
        assert name in told
        assert value in told


def test_the_listener_is_there_while_a_job_asks_for_alerts(world: World) -> None:
    key = world.create(
        fine_tune_job(triggers={"alerts": [{"matchers": dict(LOW)}], "cooldown": "1h"})
    )
    _, writes = world.run(reconcile_platform(world.cluster, world.settings))
    assert writes == 2
    _, writes = world.run(reconcile_platform(world.cluster, world.settings))
    assert writes == 0
    [sensor] = world.all("Sensor", "argoproj.io/v1alpha1")
    [trigger] = sensor["spec"]["triggers"]
    resource = trigger["template"]["k8s"]["source"]["resource"]
    assert (resource["kind"], resource["metadata"]["name"]) == ("FineTuneJob", "tuning")
    world.delete(key)
    world.run(reconcile_platform(world.cluster, world.settings))
    assert world.all("Sensor", "argoproj.io/v1alpha1") == []


@pytest.mark.parametrize("source", ["webhook", "none"])
def test_a_listener_goes_when_the_platform_takes_no_alerts_any_more(
    world: World, source: Literal["webhook", "none"]
) -> None:
    """Its bus could else not go, and nobody guarded its door."""
    world.create(fine_tune_job(triggers={"alerts": [{"matchers": dict(LOW)}]}))
    world.run(reconcile_platform(world.cluster, world.settings))
    alien = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor"}
    world.create({**alien, "metadata": {"name": "nexus-bucket", "namespace": "nexus-system"}})
    world.settings = replace(world.settings, events=Events(source=source))
    world.run(reconcile_platform(world.cluster, world.settings))
    assert world.all("EventSource", "argoproj.io/v1alpha1") == []
    [left] = world.all("Sensor", "argoproj.io/v1alpha1")
    assert left["metadata"]["name"] == "nexus-bucket"
    assert world.run(reconcile_platform(world.cluster, world.settings)) == (None, 0)


@pytest.mark.parametrize("lacking", ["rights", "kinds"])
def test_a_platform_without_listeners_needs_no_argo_events(world: World, lacking: str) -> None:
    kinds = {"EventSource", "Sensor"}
    world.cluster.forbidden = {f"get {kind}" for kind in kinds} if lacking == "rights" else set()
    world.cluster.missing = kinds if lacking == "kinds" else set()
    world.settings = replace(world.settings, events=Events())
    assert world.run(reconcile_platform(world.cluster, world.settings)) == (None, 0)


def test_without_argo_events_nothing_is_done() -> None:
    plan = plan_alerts([job("a", dict(LOW))], settings(), Seen(missing=frozenset({"Sensor"})))
    assert (plan.apply, plan.delete) == ((), ())


def test_a_sensor_fits_its_pod_and_follows_from_the_jobs_alone() -> None:
    long = {f"label{number}": "é" * 250 for number in range(4)}
    jobs = [job(f"j{number}", long, {"a": "b"}) for number in range(30)]
    plan = plan_alerts(jobs, settings(), Seen())
    sensor = next(one for one in plan.apply if one["kind"] == "Sensor")
    assert len(json.dumps(sensor)) * 4 / 3 < 128 * 1024
    assert plan_alerts(jobs[::-1], settings(), Seen()) == plan
    few = [job(f"j{number}", dict(LOW)) for number in range(20)]
    wanted = plan_alerts([*few, job("none")], settings(), Seen()).apply[1]
    assert len(wanted["spec"]["triggers"]) == 20


def test_a_change_of_a_job_s_alerts_is_the_listener_s_concern() -> None:
    routes = Routes()

    def concerns(manifest: Manifest, kind: str = "MODIFIED") -> bool:
        event = WatchEvent(kind, manifest)  # type: ignore[arg-type]
        return PLATFORM in list(routes.keys(event, "FineTuneJob"))

    plain = fine_tune_job()
    alerted = fine_tune_job(triggers={"alerts": [{"matchers": dict(LOW)}]})
    assert not concerns(plain)
    assert concerns(alerted)
    assert not concerns(alerted)
    assert concerns(alerted, "DELETED")
    assert {"Sensor", "EventSource"} <= {one.kind for one in children(settings())}


def notified(world: World, key: Key) -> tuple[str, str]:
    world.settle(key)
    told = world.condition(key, "Notified")
    return (told["status"], told["reason"]) if told else ("", "")


def test_a_job_says_whether_alerts_reach_it(world: World) -> None:
    key = world.create(fine_tune_job(triggers={"alerts": [{"matchers": dict(LOW)}]}))
    assert notified(world, key) == ("False", "Starting")
    assert world.reconcile(key).requeue_after == timedelta(seconds=30)
    world.run(reconcile_platform(world.cluster, world.settings))
    assert notified(world, key) == ("True", "Listening")
    assert "nexus-alerts-eventsource-svc.nexus-system.svc:12001" in str(
        world.condition(key, "Notified")["message"]
    )
    assert world.reconcile(key).requeue_after is None
    failed = {"type": "Deployed", "status": "False", "message": "EventBus not found."}
    sensor = Ref(*SENSOR, "nexus-system", "nexus-alerts")
    world.run(world.cluster.patch(sensor, {"status": {"conditions": [failed]}}))
    assert notified(world, key) == ("False", "Starting")
    assert "(EventBus not found)" in str(world.condition(key, "Notified")["message"])
    assert world.reconcile(key).requeue_after == timedelta(seconds=30)
    world.patch(key, {"spec": {"triggers": None}})
    assert notified(world, key) == ("", "")


def test_a_job_that_the_listener_has_no_room_for_says_so(world: World) -> None:
    long = {f"label{number}": "é" * 250 for number in range(4)}
    full = [
        world.create(fine_tune_job(f"j{number:02}", triggers={"alerts": [{"matchers": long}]}))
        for number in range(10)
    ]
    small = {"alerts": [{"matchers": dict(LOW)}]}
    late = world.create(fine_tune_job("late", triggers=small))
    told: Counter[str] = Counter()
    for _ in range(2):  # whatever was reconciled first
        world.run(reconcile_platform(world.cluster, world.settings))
        told = Counter(notified(world, key)[1] for key in full)
    assert set(told) == {"Listening", "TooManyAlerts"}
    assert notified(world, late) == ("True", "Listening")
    for key in full:
        world.delete(key)
        world.reconcile(key)
        world.reconcile(key)
    world.run(reconcile_platform(world.cluster, world.settings))
    assert notified(world, late) == ("True", "Listening")


@pytest.mark.parametrize(
    ("offered", "missing", "expected"),
    [
        (Settings(), set(), ("True", "Listening")),
        (Settings(on_kubernetes=True), set(), ("False", "AlertsOff")),
        (settings(), {"Sensor"}, ("False", "ArgoEventsMissing")),
    ],
)
def test_a_job_says_why_alerts_cannot_reach_it(
    offered: Settings, missing: set[str], expected: tuple[str, str]
) -> None:
    world = World(offered)
    world.cluster.missing = missing
    key = world.create(fine_tune_job(triggers={"alerts": [{"matchers": dict(LOW)}]}))
    found = notified(world, key)
    world.close()
    assert found == expected
