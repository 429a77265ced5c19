"""What must not keep a model on vLLM from serving: versions that are lost, pods that have ended."""

from pathlib import Path

import pytest
from small_world import World
from test_plan_adapters import release, served
from test_plan_loading import HUB, MAP, Pods, adapted, given_to_pods, live, name, world

from nexus_api.adapter_loading import AdaptersToLoad, LoadedAdapters, version_name
from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServedAdapter
from nexus_operator.build.loading import as_loaded
from nexus_operator.cluster.protocol import Ref
from nexus_operator.plan.loading import loading
from nexus_operator.reconcile.reconcile import Key

__all__ = ["world"]

GONE = "it could not be fetched: gone"


def names_adapter(world: World, key: Key, **adapter: str) -> None:
    """Have the spec name one adapter."""
    model = {"uri": HUB, "adapters": [{"name": "polite", **adapter}]}
    world.patch(key, {"spec": {"model": model}})
    world.settle(key)


def replaced(world: World, pods: Pods, made: Manifest) -> None:
    """Have the only pod go, and another one start that is not ready yet."""
    pods.stop("p0")
    pods.start("p1", made, ready=False)
    (deployment,) = world.deployments()
    world.set_status(deployment, {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 0})


def test_a_new_version_frees_a_model_whose_pods_cannot_get_the_old_one(world: World) -> None:
    key = adapted(world)
    made, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    replaced(world, pods, made)
    pods.says("p1", told=(1,), n1=GONE)
    world.settle(key)
    assert given_to_pods(world) == {name(1): True}, "nothing else is released"
    release(world, 2, 1)
    world.settle(key)
    assert given_to_pods(world) == {name(1): True, name(2): False}
    pods.says("p1", 2, told=(1, 2), n1=GONE)
    world.settle(key)
    assert given_to_pods(world) == {name(2): True}
    assert [one["servedAs"] for one in served(world, key)] == [name(2)]


def test_where_nobody_answers_all_that_start_have_to_have_it(world: World) -> None:
    key = adapted(world)
    made, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    replaced(world, pods, made)
    pods.start("p2", made, ready=False)
    release(world, 2, 1)
    pods.says("p1", 2, told=(1, 2), n1=GONE)
    pods.says("p2", told=(1, 2), n1=GONE)
    world.settle(key)
    assert given_to_pods(world) == {name(1): True, name(2): False}
    pods.says("p2", 2, told=(1, 2), n1=GONE)
    world.settle(key)
    assert given_to_pods(world) == {name(2): True}


def test_another_address_frees_it_too(world: World) -> None:
    key = adapted(world, "s3://bucket/a/")
    made, pods = live(world, key)
    old, new = (version_name("polite", f"s3://bucket/{place}/") for place in "ab")
    pods.says("p0", old)
    world.settle(key)
    replaced(world, pods, made)
    names_adapter(world, key, uri="s3://bucket/b/")
    answer = LoadedAdapters(told=[old, new], loaded=[new], refused={old: GONE})
    url = f"http://{pods.addresses['p1']}:8081/adapters"
    world.cluster.answers[url] = answer.model_dump_json(by_alias=True).encode()
    world.settle(key)
    assert given_to_pods(world) == {new: True}


def test_two_digests_of_one_address_have_folders_of_their_own(world: World) -> None:
    key = adapted(world, "s3://bucket/a/")
    names_adapter(world, key, uri="s3://bucket/a/", digest="1" * 64)
    _, pods = live(world, key)
    pods.says("p0", f"polite@{'1' * 12}")
    world.settle(key)
    names_adapter(world, key, uri="s3://bucket/a/", digest="2" * 64)
    found = world.get(MAP)
    assert found is not None
    told = AdaptersToLoad.model_validate_json(found["data"]["adapters.json"]).adapters
    assert len(told) == 2
    assert len({Path(one.folder) for one in told}) == 2


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_holds_nothing_up(world: World, phase: str) -> None:
    """Its address may be another pod's by now, which answers for itself."""
    key = adapted(world)
    made, pods = live(world, key)
    release(world, 1)
    pods.start("p9", made, ready=False)
    ended = world.get(Ref("v1", "Pod", "default", "p9"))
    assert ended is not None
    world.set_status(ended, {**ended["status"], "phase": phase})
    pods.says("p9", told=())
    pods.says("p0", 1)
    world.settle(key)
    assert [one["servedAs"] for one in served(world, key)] == [name(1)]


@pytest.mark.parametrize("answers", [True, False])
def test_a_pod_that_is_told_to_end_counts_while_it_answers(*, answers: bool) -> None:
    """No kubelet brings it a newer file."""
    adapter = as_loaded(ServedAdapter(name="polite", uri="u", source="s3://a/"))
    going = pod("p9", ready=answers, deletionTimestamp="2026-11-01T00:00:00Z")
    told = {
        "p0": LoadedAdapters(told=[str(adapter.served_as)], loaded=[str(adapter.served_as)]),
        "p9": LoadedAdapters(),
    }
    found = loading([adapter], [], [pod("p0", ready=True), going], told, at_least=1)
    assert found.adapters == (() if answers else (adapter,))


def pod(name: str, *, ready: bool, **metadata: str) -> Manifest:
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": {"name": name, **metadata}, "status": {"conditions": [condition]}}
