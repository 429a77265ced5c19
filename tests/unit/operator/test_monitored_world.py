"""What becomes of runtimes' own metrics where there is a real Kubernetes, or half of one."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from small_world import World, serving_model

from nexus_api.meta import Manifest
from nexus_operator.build.monitoring import POD_MONITOR
from nexus_operator.build.revision import UPDATE_REQUESTED
from nexus_operator.cluster.protocol import Ref
from nexus_operator.objects import labels_of, name_of
from nexus_operator.plan.looks import LOOK_FOR_KINDS
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import ModelCache, Scrape, Settings

UNREAD = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm", "triton"}),
    model_cache=ModelCache(mode="ephemeral"),
)
READ = replace(UNREAD, scrape=Scrape(labels={"release": "monitoring"}))
PLACE = Ref(*POD_MONITOR, "default", "assistant-runtime")


@pytest.fixture
def world() -> Iterator[World]:
    world = World(READ)
    yield world
    world.close()


def serving(world: World) -> Key:
    key = world.create(serving_model())
    bring_up(world, key)
    return key


def bring_up(world: World, key: Key) -> None:
    """Let the model serve with whatever was started for it, and its Deployments come and go."""
    world.settle(key)
    for one in world.deployments():
        world.make_ready(one)
    world.settle(key)
    assert world.condition(key)["status"] == "True"


def monitored(world: World, key: Key) -> tuple[str, str]:
    found = world.condition(key, "Monitored")
    return found["status"], found["reason"]


def monitor(world: World) -> Manifest:
    found = world.get(PLACE)
    assert found is not None
    return found


def test_prometheus_is_told_of_a_model(world: World) -> None:
    key = serving(world)
    assert labels_of(monitor(world))["release"] == "monitoring"
    assert monitored(world, key) == ("True", "Announced")
    assert world.reconcile(key).writes == 0


def test_where_nobody_reads_metrics_nothing_is_said_of_them(world: World) -> None:
    world.settings = UNREAD
    key = serving(world)
    assert world.get(PLACE) is None
    assert world.condition(key, "Monitored") == {}


def test_a_monitor_that_was_deleted_or_changed_is_put_back(world: World) -> None:
    key = serving(world)
    before = monitor(world)["spec"]
    world.delete(monitor(world))
    world.settle(key)
    assert monitor(world)["spec"] == before
    world.run(world.cluster.patch(PLACE, {"spec": {"podMetricsEndpoints": []}}))
    world.settle(key)
    assert monitor(world)["spec"] == before


def test_without_the_prometheus_operator_a_model_serves_and_says_what_is_missing(
    world: World,
) -> None:
    world.cluster.missing.add("PodMonitor")
    key = serving(world)
    assert monitored(world, key) == ("False", "PrometheusOperatorMissing")
    assert "install it" in world.condition(key, "Monitored")["message"]
    assert world.condition(key, "Refused") == {}
    quiet = world.reconcile(key)
    assert (quiet.writes, quiet.requeue_after) == (0, LOOK_FOR_KINDS)
    world.cluster.missing.clear()
    world.settle(key)
    assert monitored(world, key) == ("True", "Announced")
    quiet = world.reconcile(key)
    assert quiet.writes == 0
    assert quiet.requeue_after is not None
    assert quiet.requeue_after > LOOK_FOR_KINDS


def test_the_prometheus_operator_may_go_again(world: World) -> None:
    key = serving(world)
    world.delete(monitor(world))
    world.cluster.missing.add("PodMonitor")
    world.settle(key)
    assert monitored(world, key) == ("False", "PrometheusOperatorMissing")
    assert world.condition(key)["status"] == "True"


def test_somebody_elses_monitor_is_left_alone_and_the_model_serves(world: World) -> None:
    metadata = {"name": PLACE.name, "namespace": PLACE.namespace}
    theirs = {"apiVersion": PLACE.api_version, "kind": PLACE.kind, "metadata": metadata}
    world.create({**theirs, "spec": {"podMetricsEndpoints": []}})
    key = serving(world)
    assert monitored(world, key) == ("False", "NameConflict")
    assert monitor(world)["spec"] == {"podMetricsEndpoints": []}
    assert world.reconcile(key).writes == 0
    world.delete(monitor(world))
    world.settle(key)
    assert monitored(world, key) == ("True", "Announced")


def test_without_the_right_to_monitors_a_model_serves_and_says_what_is_missing(
    world: World,
) -> None:
    """Roles that an administrator brings may be of an earlier release."""
    world.cluster.forbidden.add("get PodMonitor")
    key = serving(world)
    assert monitored(world, key) == ("False", "Forbidden")
    assert world.condition(key, "Refused") == {}
    quiet = world.reconcile(key)
    assert (quiet.writes, quiet.requeue_after) == (0, LOOK_FOR_KINDS)
    world.cluster.forbidden.clear()
    world.settle(key)
    assert monitored(world, key) == ("True", "Announced")


def test_what_was_started_without_the_port_is_not_restarted_for_it(world: World) -> None:
    world.settings = UNREAD
    key = serving(world)
    (before,) = world.deployments()
    world.settings = READ
    world.settle(key)
    assert [name_of(one) for one in world.deployments()] == [name_of(before)]
    assert world.deployments()[0]["spec"]["template"] == before["spec"]["template"]
    assert monitored(world, key) == ("False", "NoMetricsPort")
    assert world.condition(key, "UpdateAvailable")["status"] == "True"
    world.annotate(key, UPDATE_REQUESTED, "now")
    bring_up(world, key)
    assert monitored(world, key) == ("True", "Announced")


def test_what_is_no_longer_read_is_no_longer_spoken_of(world: World) -> None:
    """The PodMonitor stays: the operator has no right to it any more."""
    key = serving(world)
    world.settings = UNREAD
    world.cluster.forbidden |= {"get PodMonitor", "delete PodMonitor"}
    world.settle(key)
    assert world.condition(key, "Monitored") == {}
    assert world.condition(key, "Refused") == {}
