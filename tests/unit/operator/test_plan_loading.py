"""A new version of an adapter on vLLM: loaded into running pods, asked for once all have it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import World, serving_model
from test_plan_adapters import ALIAS, release, revisions, served

from nexus_api.adapter_loading import AdaptersToLoad, LoadedAdapters, version_name
from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServedAdapter, ServingModel
from nexus_operator.build.container import Runtime
from nexus_operator.build.engines import ENGINES
from nexus_operator.build.fetch import init_containers
from nexus_operator.build.pod import pod_template
from nexus_operator.build.revision import REVISION_LABEL, fixed_revision_of, revision_of
from nexus_operator.build.serving import deployment
from nexus_operator.cluster.protocol import Ref
from nexus_operator.plan.loading import REFUSED_LOOK, loading
from nexus_operator.plan.looks import SETTLED_LOOK
from nexus_operator.plan.servingmodel import LOOK_AGAIN
from nexus_operator.reconcile.reconcile import Key

MAP = Ref("v1", "ConfigMap", "default", "assistant-adapters")
HUB = "hf://org/model"


def name(number: int) -> str:
    return version_name("polite", f"s3://models/default/tuned/{number}/", f"{number}" * 64)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.settings = replace(world.settings, engines=frozenset({"vllm", "llamacpp"}))
    yield world
    world.close()


def adapted(world: World, uri: str = ALIAS, **spec: Any) -> Key:
    model = {"uri": HUB, "adapters": [{"name": "polite", "uri": uri}]}
    return world.create(serving_model(model=model, **spec))


class Pods:
    """The pods of a model, and what they say."""

    def __init__(self, world: World, key: Key) -> None:
        self.world, self.key = world, key
        self.addresses: dict[str, str] = {}

    def start(self, pod: str, made: Manifest, *, ready: bool = True) -> None:
        template = made["spec"]["template"]
        ref = Ref("v1", "Pod", "default", pod)
        self.addresses.setdefault(pod, f"10.0.0.{len(self.addresses) + 1}")
        if self.world.get(ref) is None:
            metadata = {
                "name": pod, "namespace": "default", "labels": template["metadata"]["labels"]
            }  # fmt: skip
            self.world.create(
                {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            )
        found = self.world.get(ref)
        assert found is not None
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        status = {"podIP": self.addresses[pod], "conditions": [condition]}
        self.world.set_status(found, status)

    def stop(self, pod: str) -> None:
        found = self.world.get(Ref("v1", "Pod", "default", pod))
        assert found is not None
        self.world.delete(found)

    def says(
        self, pod: str, *loaded: int | str, told: tuple[int, ...] | None = None, **refused: str
    ) -> None:
        names = [one if isinstance(one, str) else name(one) for one in loaded]
        heard = names if told is None else [name(number) for number in told]
        answer = LoadedAdapters(
            told=heard, loaded=names, refused={name(int(n[1:])): w for n, w in refused.items()}
        )
        url = f"http://{self.addresses[pod]}:8081/adapters"
        self.world.cluster.answers[url] = answer.model_dump_json(by_alias=True).encode()


def live(world: World, key: Key, replicas: int = 1) -> tuple[Manifest, Pods]:
    """Return a model whose only revision is ready, and its pods."""
    world.settle(key)
    (made,) = world.deployments()
    world.make_ready(made)
    pods = Pods(world, key)
    for number in range(replicas):
        pods.start(f"p{number}", made)
    world.settle(key)
    return made, pods


def given_to_pods(world: World) -> dict[str, bool]:
    """Return the names in the pods' file, and whether a pod is not ready without."""
    found = world.get(MAP)
    assert found is not None
    told = AdaptersToLoad.model_validate_json(found["data"]["adapters.json"])
    return {one.name: one.needed for one in told.adapters}


def why(world: World, key: Key) -> tuple[str, str, str]:
    found = world.condition(key, "AdapterNotReleased")
    return found["status"], found["reason"], found["message"]


def test_versions_come_and_go_and_no_pod_is_made_anew(world: World) -> None:
    key = adapted(world)
    made, pods = live(world, key)
    assert given_to_pods(world) == {}
    assert world.condition(key)["reason"] == "Serving"
    before = revisions(world)

    release(world, 1)
    world.settle(key)
    assert given_to_pods(world) == {name(1): False}
    assert served(world, key) is None
    assert why(world, key)[1] == "AdapterUnknown", "nobody has answered yet"
    pods.says("p0", 1)
    world.settle(key)
    assert [one["servedAs"] for one in served(world, key)] == [name(1)]
    assert given_to_pods(world) == {name(1): True}
    assert why(world, key)[:2] == ("False", "Released")
    assert world.reconcile(key).requeue_after == SETTLED_LOOK

    release(world, 2, 1)
    world.settle(key)
    assert given_to_pods(world) == {name(1): True, name(2): False}
    pods.says("p0", 1, told=(1, 2))
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"
    assert why(world, key)[:2] == ("True", "AdapterLoading")
    told = [one for one in world.all("Event") if one["reason"] == "AdapterLoading"]
    assert [one["type"] for one in told] in ([], ["Normal"])
    assert world.reconcile(key).requeue_after == LOOK_AGAIN
    pods.says("p0", 1, 2)
    world.settle(key)
    assert served(world, key)[0]["version"] == "2"
    assert given_to_pods(world) == {name(2): True}, "the old one goes after its grace"

    release(world, 1)
    world.settle(key)
    assert served(world, key)[0]["version"] == "1", "it is still there"
    assert revisions(world) == before
    (same,) = world.deployments()
    assert same["spec"]["template"] == made["spec"]["template"]


def test_it_is_asked_for_once_every_pod_has_it(world: World) -> None:
    key = adapted(world, replicas=2)
    made, pods = live(world, key, replicas=2)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    assert served(world, key) is None, "p1 does not tell"
    pods.says("p1", told=())
    world.settle(key)
    assert served(world, key) is None, "p1 does not have it"
    pods.says("p1", 1)
    pods.start("p2", made, ready=False)
    pods.says("p2", told=())
    world.settle(key)
    assert served(world, key) is None, "p2 may answer the next moment"
    pods.says("p2", told=(1,))
    world.settle(key)
    assert served(world, key)[0]["version"] == "1", "and will not without it"


def test_what_a_pod_still_has_counts_once_it_knows_that_it_is_wanted_again(world: World) -> None:
    """Its grace could end before the kubelet brings the file that names it."""
    key = adapted(world)
    _, pods = live(world, key)
    release(world, 2, 1)
    pods.says("p0", 1, 2, told=(2,))
    world.settle(key)
    assert served(world, key)[0]["version"] == "2"
    release(world, 1)
    world.settle(key)
    assert served(world, key)[0]["version"] == "2"
    assert given_to_pods(world) == {name(2): True, name(1): False}
    pods.says("p0", 1, 2, told=(2, 1))
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"


def test_a_list_of_pods_that_is_older_than_the_deployment_does_not_count(world: World) -> None:
    key = adapted(world, replicas=2)
    _, pods = live(world, key, replicas=1)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    assert served(world, key) is None


def test_a_version_that_a_pod_refuses_leaves_the_one_before(world: World) -> None:
    key = adapted(world)
    _, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    release(world, 2, 1)
    pods.says("p0", 1, told=(1, 2), n2="vLLM does not load it: LoRA rank 64 is greater than 16")
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"
    status, reason, message = why(world, key)
    assert (status, reason) == ("True", "AdapterRefused")
    assert "pod p0 cannot take adapter 'polite' (version 2)" in message
    assert "rank 64" in message
    assert "until then version 1 answers" in message
    assert world.condition(key)["reason"] == "Serving"
    assert given_to_pods(world) == {name(1): True, name(2): False}
    assert world.reconcile(key).requeue_after == REFUSED_LOOK


def test_why_a_pod_that_starts_does_not_get_what_is_asked_for_is_said(world: World) -> None:
    key = adapted(world)
    made, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    pods.start("p0", made, ready=False)
    pods.says("p0", told=(1,), n1="it could not be fetched: no such bucket")
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"
    assert why(world, key)[1] == "AdapterRefused"
    assert "no such bucket" in why(world, key)[2]


def test_an_address_of_ones_own_is_loaded_too_and_a_refusal_is_said(world: World) -> None:
    key = adapted(world, "s3://bucket/polite/")
    _, pods = live(world, key)
    own = version_name("polite", "s3://bucket/polite/")
    assert given_to_pods(world) == {own: False}
    assert why(world, key)[1] == "AdapterUnknown"
    pods.says("p0", own)
    world.settle(key)
    assert served(world, key)[0]["servedAs"] == own
    assert world.condition(key, "AdapterNotReleased") == {}


def test_a_new_revision_has_what_requests_ask_for_before_it_answers(world: World) -> None:
    key = adapted(world)
    _, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    world.patch(key, {"spec": {"runtime": {"slots": 7}}})
    world.settle(key)
    assert len(world.deployments()) == 2
    assert given_to_pods(world) == {name(1): True}
    (old,) = (o for o in world.deployments() if "p0" in pods.addresses and "7" not in _slots(o))
    (fresh,) = (o for o in world.deployments() if o != old)
    pods.start("q0", fresh)
    pods.says("q0", told=(1,))
    world.make_ready(fresh)
    pods.start("q0", fresh)
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"


def _slots(made: Manifest) -> str:
    args = made["spec"]["template"]["spec"]["containers"][0]["args"]
    found: str = args[args.index("--max-num-seqs") + 1]
    return found


def as_before(model: ServingModel, world: World) -> Manifest:
    """Return the Deployment of a release that started vLLM with its adapters."""
    profile = world.settings.profiles["default"]
    built = ENGINES["vllm"].build(model, world.settings, profile)
    container = {
        **built.container,
        "args": [*built.container["args"], "--lora-modules", "polite=x"],
    }
    former = Runtime(container=container, init=init_containers(model, world.settings))
    revision = fixed_revision_of(model)
    template = pod_template(model, revision, former, world.settings, profile)
    return deployment(model, revision, template, replicas=1)


def test_what_an_earlier_release_started_goes_on_until_a_new_version(world: World) -> None:
    key = adapted(world)
    release(world, 1)
    manifest = world.the(key)
    source = {"name": "polite", "uri": "s3://models/default/tuned/1/", "digest": "1" * 64}
    spec = {"model": {"uri": HUB, "adapters": [source]}}
    former = ServingModel.model_validate({**manifest, "spec": spec})
    made = as_before(former, world)
    world.create(made)
    world.settle(key)
    (same,) = world.deployments()
    assert same["spec"]["template"] == made["spec"]["template"]
    world.make_ready(same)
    pods = Pods(world, key)
    pods.start("old", same)
    world.settle(key)
    (found,) = served(world, key)
    assert found["version"] == "1"
    assert "servedAs" not in found
    assert world.get(MAP) is None
    assert world.condition(key, "UpdateAvailable")["status"] == "True"

    release(world, 2, 1)
    world.settle(key)
    (fresh,) = (o for o in world.deployments() if o["metadata"]["name"] != made["metadata"]["name"])
    assert given_to_pods(world) == {"polite": True, name(2): False}, "by the name of now, too"
    world.make_ready(fresh)
    pods.start("new", fresh)
    pods.says("new", "polite", 2)
    world.settle(key)
    assert "servedAs" not in served(world, key)[0], "the old pod still answers"
    assert why(world, key)[1] == "AdapterLoading"
    pods.stop("old")
    world.settle(key)
    assert served(world, key)[0]["servedAs"] == name(2)
    assert given_to_pods(world) == {name(2): True}


def test_the_pods_do_not_depend_on_which_adapters_there_are() -> None:
    def revision(*uris: str, rank: int = 16) -> str:
        adapters = [{"name": f"a{n}", "uri": uri} for n, uri in enumerate(uris)]
        model = serving_model(
            model={"uri": HUB, "adapters": adapters}, runtime={"maxLoraRank": rank}
        )
        return revision_of(ServingModel.model_validate(model))

    assert revision("s3://b/1/") == revision("s3://b/2/") == revision(ALIAS)
    assert len({revision(), revision("s3://b/1/"), revision("s3://b/1/", rank=32)}) == 3
    assert revision("s3://b/1/", "s3://b/2/") != revision("s3://b/1/")


def test_the_pods_are_told_address_digest_and_folder(world: World) -> None:
    key = adapted(world)
    release(world, 1)
    live(world, key)
    found = world.get(MAP)
    assert found is not None
    (told,) = AdaptersToLoad.model_validate_json(found["data"]["adapters.json"]).adapters
    assert (told.uri, told.digest) == ("s3://models/default/tuned/1/", "1" * 64)
    assert told.folder.startswith("/models/served/")
    assert found["metadata"]["ownerReferences"][0]["kind"] == "ServingModel"


def test_no_version_is_in_the_pods(world: World) -> None:
    live(world, adapted(world))
    release(world, 1)
    (made,) = world.deployments()
    text = json.dumps(made)
    assert "polite" not in text
    assert "tuned" not in text
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in text


ADAPTERS = [
    ServedAdapter(name=f"a{n}", uri="u", source=f"s{v}", version=str(v), served_as=f"a{n}@{v}")
    for n in range(2)
    for v in range(2)
]
NAMES = [str(one.served_as) for one in ADAPTERS]
REPORT = st.builds(
    LoadedAdapters,
    told=st.lists(st.sampled_from(NAMES), unique=True),
    loaded=st.lists(st.sampled_from(NAMES), unique=True),
)
POD = st.tuples(st.booleans(), st.none() | REPORT)


@given(
    new=st.tuples(st.sampled_from(ADAPTERS[:2]), st.sampled_from(ADAPTERS[2:])),
    old=st.sets(st.sampled_from([0, 1])),
    pods=st.lists(POD, max_size=4),
)
def test_nobody_is_asked_for_a_version_that_an_answering_pod_lacks(
    new: tuple[ServedAdapter, ...], old: set[int], pods: list[tuple[bool, LoadedAdapters | None]]
) -> None:
    served_now = [ADAPTERS[2 * n] for n in sorted(old)]
    manifests = [
        {
            "metadata": {"name": str(n)},
            "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
        }
        for n, (ready, _) in enumerate(pods)
    ]
    told = {str(n): report for n, (_, report) in enumerate(pods) if report is not None}
    found = loading(new, served_now, manifests, told, 0)
    for adapter in (one for one in found.adapters if one not in served_now):
        assert all(r and adapter.served_as in {*r.loaded} & {*r.told} for ready, r in pods if ready)
        if not any(ready for ready, _ in pods):  # those that start decide, all of them
            heard = [report for _, report in pods if report is not None]
            assert heard
            assert all(adapter.served_as in {*one.loaded} & {*one.told} for one in heard)
    assert {one.name for one in served_now} <= {one.name for one in found.adapters}
    assert (found.waiting is None) == (found.adapters == new)


@pytest.mark.parametrize("answer", [b"", b"<html>", b'{"loaded": "polite"}', b"\xff"])
def test_a_pod_that_talks_nonsense_has_nothing(world: World, answer: bytes) -> None:
    key = adapted(world)
    _, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    (url,) = world.cluster.answers
    world.cluster.answers[url] = answer
    world.settle(key)
    assert served(world, key) is None
    assert why(world, key)[1] == "AdapterUnknown"


def test_a_pod_of_ipv6_is_asked_at_its_address(world: World) -> None:
    key = adapted(world)
    made, pods = live(world, key)
    release(world, 1)
    pods.addresses["p0"] = "fd00::7"
    pods.start("p0", made)
    pods.says("p0", 1)
    told = world.cluster.answers.popitem()[1]
    world.cluster.answers["http://[fd00::7]:8081/adapters"] = told
    world.settle(key)
    assert served(world, key)[0]["version"] == "1"


def test_somebody_elses_object_of_that_name_is_left_alone(world: World) -> None:
    theirs = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"mine": "1"},
        "metadata": {"name": MAP.name, "namespace": "default"},
    }  # fmt: skip
    world.create(theirs)
    key = adapted(world)
    world.settle(key)
    found = world.get(MAP)
    assert found is not None
    assert found["data"] == {"mine": "1"}
    assert world.condition(key)["reason"] == "NameConflict"
    assert world.deployments() == []


def test_no_right_is_needed_where_vllm_is_not_offered(world: World) -> None:
    world.settings = replace(world.settings, engines=frozenset({"llamacpp"}))
    world.cluster.forbidden = {"get ConfigMap"}
    key = adapted(world)
    world.settle(key)
    assert world.condition(key)["reason"] == "EngineNotOffered"


def test_a_service_selects_what_it_did(world: World) -> None:
    key = adapted(world)
    made, pods = live(world, key)
    release(world, 1)
    pods.says("p0", 1)
    world.settle(key)
    found = world.get(Ref("v1", "Service", "default", "assistant"))
    assert found is not None
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"][REVISION_LABEL] == labels[REVISION_LABEL]
