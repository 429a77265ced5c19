"""Operator, kubelets, pods and gateways together, each in its own time.

Whatever the order: a gateway asks no pod that answers for a version that it does not have.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st
from small_world import World, serving_model
from test_plan_adapters import ALIAS, release
from test_plan_loading import HUB, MAP, name

from nexus_api.adapter_loading import AdaptersToLoad
from nexus_api.meta import Manifest
from nexus_operator.cluster.protocol import Ref
from nexus_pipelines.load_adapters.core import GRACE_SECONDS, Seen, Trouble, looked, report

SYNC = 60.0
"""Seconds within which a kubelet brings a changed file."""

REFUSED = name(3)


class Pod:
    """One pod: what its container knows, and what the API says of it."""

    def __init__(self, name: str, address: str, wanted: AdaptersToLoad) -> None:
        self.name, self.address = name, address
        self.seen = Seen(wanted=wanted)

    def look(self, now: float) -> None:
        """Do as the core says, twice: what is fetched is loaded the next time."""
        for _ in range(4):
            self.seen, todo = looked(self.seen, now)
            if todo.fetch is not None:
                self.seen = replace(self.seen, fetched=self.seen.fetched | {todo.fetch.name})
            for adapter in todo.load:
                self._load(adapter.name, now)
            there = self.seen.loaded
            left = None if there is None else there - set(todo.unload)
            self.seen = replace(self.seen, loaded=left)
        self.seen, _ = looked(self.seen, now)

    def _load(self, version: str, now: float) -> None:
        if version == REFUSED:
            trouble = Trouble("rank 64", now)
            self.seen = replace(self.seen, troubles={**self.seen.troubles, version: trouble})
        else:
            self.seen = replace(self.seen, loaded=(self.seen.loaded or frozenset()) | {version})


class LoadingWorld(stateful.RuleBasedStateMachine):
    """A model of two replicas whose adapter is released, rolled back, refused."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.settings = replace(self.world.settings, engines=frozenset({"vllm"}))
        model = {"uri": HUB, "adapters": [{"name": "polite", "uri": ALIAS}]}
        self.key = self.world.create(serving_model(model=model, replicas=2))
        self.world.settle(self.key)
        self.now, self.made = 0.0, 0
        self.pods: list[Pod] = []
        self.start()
        self.start()
        for pod in self.pods:
            self.up(pod)

    def teardown(self) -> None:
        self.world.close()

    # -- what happens

    @stateful.rule(champion=st.sampled_from([1, 2, 3]), previous=st.sampled_from([1, 2]))
    def released(self, champion: int, previous: int) -> None:
        release(self.world, champion, previous)
        self.reconcile()

    @stateful.rule()
    def reconcile(self) -> None:
        self.world.reconcile(self.key)

    @stateful.rule(number=st.integers(0, 2))
    def kubelet(self, number: int) -> None:
        if number < len(self.pods):
            self.sync(self.pods[number])
            self.looks(self.pods[number])
            self.reconcile()

    @stateful.rule(number=st.integers(0, 2))
    def look(self, number: int) -> None:
        if number < len(self.pods):
            self.looks(self.pods[number])

    @stateful.rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        """A server ends; it is up again when somebody says so."""
        if number < len(self.pods):
            pod = self.pods[number]
            pod.seen = replace(pod.seen, loaded=None)
            self.looks(pod)

    @stateful.rule(number=st.integers(0, 2))
    def server_up(self, number: int) -> None:
        if number < len(self.pods):
            self.up(self.pods[number])

    @stateful.precondition(lambda self: len(self.pods) < 3)
    @stateful.rule()
    def start(self) -> None:
        """A pod begins with the file of now; its server comes later."""
        self.made += 1
        pod = Pod(f"p{self.made}", f"10.0.0.{self.made}", self.file())
        metadata = {
            "name": pod.name,
            "namespace": "default",
            "labels": self.template["metadata"]["labels"],
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": self.template["spec"],
        }
        self.world.create(body)
        self.pods.append(pod)
        self.looks(pod)

    @stateful.precondition(lambda self: len(self.pods) > 1)
    @stateful.rule(number=st.integers(0, 2))
    def stop(self, number: int) -> None:
        if number < len(self.pods):
            pod = self.pods.pop(number)
            found = self.world.get(Ref("v1", "Pod", "default", pod.name))
            assert found is not None
            self.world.delete(found)
            self.told()

    @stateful.rule(minutes=st.sampled_from([1, 14, 20]))
    def wait(self, minutes: int) -> None:
        """Time goes by: kubelets and containers do what is theirs; the operator may be away."""
        for _ in range(minutes):
            self.now += SYNC / 2
            for pod in self.pods:
                self.looks(pod)
                self.nobody_is_asked_for_what_it_lacks()
            self.now += SYNC / 2
            for pod in self.pods:
                self.sync(pod)
                self.looks(pod)
                self.nobody_is_asked_for_what_it_lacks()

    # -- what holds

    @stateful.invariant()
    def nobody_is_asked_for_what_it_lacks(self) -> None:
        asked = self.asked
        for pod in self.pods:
            if pod.seen.ready and asked is not None:
                assert pod.seen.loaded is not None
                assert asked in pod.seen.loaded, f"{pod.name} has {set(pod.seen.loaded)}"

    @stateful.invariant()
    def one_revision_does_for_all_versions(self) -> None:
        assert len(self.world.deployments()) == 1

    @stateful.invariant()
    def what_is_refused_is_asked_of_nobody(self) -> None:
        assert self.asked != REFUSED

    # -- its parts

    @property
    def template(self) -> Manifest:
        found: Manifest = self.world.deployments()[0]["spec"]["template"]
        return found

    @property
    def asked(self) -> str | None:
        """The name by which gateways ask, None for nobody."""
        adapters: list[Any] = (self.world.the(self.key).get("status") or {}).get("adapters") or []
        return str(adapters[0]["servedAs"]) if adapters else None

    def file(self) -> AdaptersToLoad:
        found = self.world.get(MAP)
        assert found is not None
        return AdaptersToLoad.model_validate_json(found["data"]["adapters.json"])

    def sync(self, pod: Pod) -> None:
        pod.seen = replace(pod.seen, wanted=self.file())

    def up(self, pod: Pod) -> None:
        if pod.seen.loaded is None:
            pod.seen = replace(pod.seen, loaded=frozenset())
        self.looks(pod)

    def looks(self, pod: Pod) -> None:
        pod.look(self.now)
        self.told()

    def told(self) -> None:
        """Have the API and the operator's question tell what is so."""
        for pod in self.pods:
            found = self.world.get(Ref("v1", "Pod", "default", pod.name))
            assert found is not None
            condition = {"type": "Ready", "status": str(pod.seen.ready)}
            self.world.set_status(found, {"podIP": pod.address, "conditions": [condition]})
            answer = report(pod.seen).model_dump_json(by_alias=True).encode()
            self.world.cluster.answers[f"http://{pod.address}:8081/adapters"] = answer
        (made,) = self.world.deployments()
        ready = sum(pod.seen.ready for pod in self.pods)
        counts = {"replicas": len(self.pods), "updatedReplicas": 2, "readyReplicas": ready}
        observed = made["metadata"]["generation"]
        self.world.set_status(made, {"observedGeneration": observed, **counts})


LoadingWorld.TestCase.settings = settings(max_examples=15, stateful_step_count=20)
TestLoadingWorld = pytest.mark.timeout(1500)(LoadingWorld.TestCase)


def test_in_the_end_what_is_released_is_served() -> None:
    world = LoadingWorld()
    try:
        for champion, served in ((1, 1), (2, 2), (3, 2), (1, 1)):
            world.released(champion, 1)
            for _ in range(4):
                world.reconcile()
                world.wait(1)
            assert world.asked == name(served)
        world.wait(int(GRACE_SECONDS / SYNC) + 1)
        assert [set(pod.seen.loaded or ()) for pod in world.pods] == [{name(1)}] * 2
    finally:
        world.teardown()
