"""What a person sees of a model where there is a real Kubernetes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from small_world import World, serving_model

from nexus_api.meta import Manifest
from nexus_operator.build.guards import GUARDS
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.cluster.protocol import Ref
from nexus_operator.objects import labels_of, name_of
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Images, ModelCache, Settings

CLUSTER = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm", "triton"}),
    model_cache=ModelCache(mode="claim"),
)
SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 5}}


@pytest.fixture
def world() -> Iterator[World]:
    world = World(CLUSTER)
    yield world
    world.close()


def serving(world: World, **spec: Any) -> Key:
    key = world.create(serving_model(**spec))
    world.settle(key)
    world.make_ready(world.deployments()[0])
    world.settle(key)
    return key


def guard(world: World, kind: str) -> Manifest | None:
    return world.get(Ref(GUARDS[kind], kind, "default", "assistant-runtime"))


def deployment(world: World, *, other_than: str = "") -> Manifest:
    (found,) = [one for one in world.deployments() if name_of(one) != other_than]
    return found


def scale(world: World, made: Manifest, replicas: int) -> None:
    ref = Ref("apps/v1", "Deployment", "default", name_of(made))
    world.run(world.cluster.patch(ref, {"spec": {"replicas": replicas}}))


def test_runtime_is_guarded_and_has_its_claim_from_the_start(world: World) -> None:
    key = world.create(serving_model())
    world.settle(key)
    assert guard(world, "NetworkPolicy") is not None
    assert guard(world, "PodDisruptionBudget") is not None
    assert guard(world, "HorizontalPodAutoscaler") is None
    claims = world.all("PersistentVolumeClaim")
    assert [name_of(one) for one in claims] == ["assistant-models"]
    assert world.reconcile(key).writes == 0


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodDisruptionBudget"])
def test_guard_that_is_deleted_or_changed_is_put_back(world: World, kind: str) -> None:
    key = serving(world)
    before = guard(world, kind)
    assert before is not None
    world.delete(before)
    world.settle(key)
    assert guard(world, kind) is not None
    ref = Ref(GUARDS[kind], kind, "default", "assistant-runtime")
    world.run(world.cluster.patch(ref, {"spec": {"ingress": [{}], "maxUnavailable": 9}}))
    world.settle(key)
    after = guard(world, kind)
    assert after is not None
    assert {name: after["spec"][name] for name in before["spec"]} == before["spec"]


def test_somebody_elses_budget_is_left_alone(world: World) -> None:
    metadata = {"name": "assistant-runtime", "namespace": "default"}
    theirs = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata}
    world.create({**theirs, "spec": {"minAvailable": 1}})
    key = world.create(serving_model())
    world.settle(key)
    ready = world.condition(key)
    assert ready["reason"] == "NameConflict"
    assert ready["message"].startswith("PodDisruptionBudget default/assistant-runtime is there")
    assert world.deployments() == []
    found = guard(world, "PodDisruptionBudget")
    assert found is not None
    assert found["spec"] == {"minAvailable": 1}


def test_autoscaler_decides_and_the_operator_lets_it(world: World) -> None:
    key = serving(world, **SCALED)
    made = deployment(world)
    assert made["spec"]["replicas"] == 2
    scale(world, made, 4)
    world.settle(key)
    assert deployment(world)["spec"]["replicas"] == 4
    found = guard(world, "HorizontalPodAutoscaler")
    assert found is not None
    assert found["spec"]["scaleTargetRef"]["name"] == name_of(made)


def test_deployment_scaled_to_nothing_by_hand_is_brought_back(world: World) -> None:
    """An autoscaler reads 0 as being switched off, and would leave it there for ever."""
    key = world.create(serving_model(**SCALED))
    world.settle(key)
    scale(world, deployment(world), 0)
    world.settle(key)
    assert deployment(world)["spec"]["replicas"] == 1
    world.make_ready(deployment(world))
    world.settle(key)
    assert world.the(key)["status"]["liveRevision"]
    scale(world, deployment(world), 0)
    world.settle(key)
    assert deployment(world)["spec"]["replicas"] == 1


def test_new_revision_starts_as_strong_as_the_live_one(world: World) -> None:
    key = serving(world, **SCALED)
    old = deployment(world)
    scale(world, old, 4)
    world.make_ready(deployment(world))
    world.patch(key, {"spec": {"runtime": {"slots": 2}}})
    world.settle(key)
    new = deployment(world, other_than=name_of(old))
    assert new["spec"]["replicas"] == 4
    scaler = guard(world, "HorizontalPodAutoscaler")
    assert scaler is not None
    assert scaler["spec"]["scaleTargetRef"]["name"] == name_of(old)
    world.make_ready(new)
    world.settle(key)
    scaler = guard(world, "HorizontalPodAutoscaler")
    assert scaler is not None
    assert scaler["spec"]["scaleTargetRef"]["name"] == name_of(new)
    assert deployment(world)["spec"]["replicas"] == 4


def test_autoscaler_goes_when_it_is_no_longer_asked_for(world: World) -> None:
    key = serving(world, **SCALED)
    world.patch(key, {"spec": {"autoscaling": None, "replicas": 3}})
    world.settle(key)
    assert guard(world, "HorizontalPodAutoscaler") is None
    assert deployment(world)["spec"]["replicas"] == 3
    assert world.condition(key, "Autoscaling") == {}


def test_replicas_stay_when_an_autoscaler_takes_over(world: World) -> None:
    key = serving(world, replicas=3)
    world.patch(key, {"spec": {"replicas": None, **SCALED}})
    world.settle(key)
    assert guard(world, "HorizontalPodAutoscaler") is not None
    assert deployment(world)["spec"]["replicas"] == 3


def test_autoscaling_tells_why_load_cannot_be_read(world: World) -> None:
    key = serving(world, **SCALED)
    assert world.condition(key, "Autoscaling")["reason"] == "Starting"
    found = guard(world, "HorizontalPodAutoscaler")
    assert found is not None
    told = {"type": "ScalingActive", "reason": "FailedGetExternalMetric", "message": "no metrics."}
    world.set_status(found, {"conditions": [{**told, "status": "False"}]})
    world.settle(key)
    condition = world.condition(key, "Autoscaling")
    assert (condition["status"], condition["reason"]) == ("False", "FailedGetExternalMetric")
    assert condition["message"] == (
        "The model keeps between 2 and 5 replicas, but load cannot be read: no metrics."
    )
    world.set_status(found, {"conditions": [{**told, "status": "True"}]})
    world.settle(key)
    assert world.condition(key, "Autoscaling")["status"] == "True"


def test_service_speaks_as_the_live_revision_does_until_the_new_one_answers(world: World) -> None:
    key = serving(world, model={"uri": "hf://org/model"}, runtime={"engine": "vllm"})
    status = world.the(key)["status"]
    assert (status["engine"], status["url"]) == ("vllm", "http://assistant.default.svc:80")
    old = deployment(world)
    world.patch(key, {"spec": {"runtime": {"engine": "triton"}}})
    world.settle(key)
    assert world.the(key)["status"]["engine"] == "vllm"
    world.make_ready(deployment(world, other_than=name_of(old)))
    world.settle(key)
    status = world.the(key)["status"]
    assert (status["engine"], status["url"]) == ("triton", "grpc://assistant.default.svc:8001")
    (service,) = world.all("Service")
    assert [one["port"] for one in service["spec"]["ports"]] == [8001]
    assert labels_of(deployment(world))[REVISION_LABEL] == status["liveRevision"]


def test_upgrade_of_the_platform_keeps_triton_and_its_repository(world: World) -> None:
    key = serving(world, model={"uri": "hf://org/model"}, runtime={"engine": "triton"})
    before = deployment(world)["spec"]["template"]
    world.settings = replace(world.settings, images=Images(triton="example.com/triton:9"))
    world.settle(key)
    assert deployment(world)["spec"]["template"] == before
    assert world.condition(key, "UpdateAvailable")["status"] == "True"


def test_claim_is_made_once_and_not_touched_when_the_platform_wants_another(world: World) -> None:
    key = serving(world)
    cache = ModelCache(mode="claim", size="500Gi", storage_class="other")
    world.settings = replace(world.settings, model_cache=cache)
    world.settle(key)
    (claim,) = world.all("PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "Unschedulable"),
        (
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "PersistentVolumeClaimPending",
        ),
    ],
)
def test_pod_without_a_node_tells_why(world: World, said: str, reason: str) -> None:
    key = world.create(serving_model())
    world.settle(key)
    made = deployment(world)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "labels": labels_of(made)},
        "spec": {},
    }
    world.create(pod)
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    world.set_status(pod, {"conditions": [{**scheduled, "message": said}]})
    world.settle(key)
    ready = world.condition(key)
    assert ready["reason"] == reason
    assert said.rstrip(".") in ready["message"]
    room = world.condition(key, "InsufficientCapacity")
    assert room["status"] == ("True" if reason == "Unschedulable" else "False")
