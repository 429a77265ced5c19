"""Whatever happens in whatever order, what answers is never taken away before another answers."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from small_world import World, happening, rag_index, serving_model

from nexus_api.servingmodel import ServingModelStatus
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.cluster.errors import Invalid
from nexus_operator.objects import labels_of, name_of, ref_of
from nexus_operator.settings import Images, ModelCache, Settings

EDITS: list[dict[str, Any]] = [
    {"replicas": 1},
    {"replicas": 3},
    {"release": {"strategy": "Recreate"}},
    {"release": {"strategy": "Surge"}},
    {"runtime": {"engine": "vllm"}},
    {"runtime": {"engine": "auto"}},
    {"knowledge": {"ragIndexRef": {"name": "handbook"}}},
    {"knowledge": None},
]


class ModelWorld(RuleBasedStateMachine):
    platform = Settings()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.platform)
        self.key = self.world.create(serving_model())

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.world.close()

    # -- what the controller does

    @rule()
    def reconcile(self) -> None:
        surge = self.world.the(self.key)["spec"]["release"]["strategy"] == "Surge"
        answering = self.answering()
        # One whose marks were taken away by hand is made anew, in its present form.
        templates = {
            name_of(one): one["spec"]["template"]
            for one in self.world.deployments()
            if labels_of(one)
        }
        self.world.reconcile(self.key)
        live = self.live()
        if surge and answering:
            assert live in answering, f"{live} is live, and only {answering} answer"
            assert self.answering(), "nothing answers any more"
        for one in self.world.deployments():
            before = templates.get(name_of(one), one["spec"]["template"])
            image = before["spec"]["containers"][0]["image"]
            assert one["spec"]["template"]["spec"]["containers"][0]["image"] == image
        self.check_service(live)

    @rule(back=st.integers(0, 6))
    def reconcile_with_old_view(self, back: int) -> None:
        self.world.reconcile_with_old_view(self.key, back=back, resource_back=back)

    # -- what others do

    @happening(seconds=st.sampled_from([1, 61, 7200]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.world.deployments())
    @happening(data=st.data())
    def deployment_gets_ready(self, data: st.DataObject) -> None:
        self.world.make_ready(self.draw_deployment(data))

    @happening()
    def everything_gets_ready(self) -> None:
        for deployment in self.world.deployments():
            self.world.make_ready(deployment)

    @precondition(lambda self: self.world.deployments())
    @happening(data=st.data(), reason=st.sampled_from(["CrashLoopBackOff", "ImagePullBackOff"]))
    def deployment_crashes(self, data: st.DataObject, reason: str) -> None:
        self.world.crash(self.draw_deployment(data), reason)

    @precondition(lambda self: self.world.deployments())
    @happening(data=st.data())
    def deployment_is_deleted_by_hand(self, data: st.DataObject) -> None:
        self.world.delete(self.draw_deployment(data))

    @precondition(lambda self: self.world.deployments())
    @happening(data=st.data(), replicas=st.integers(0, 4))
    def deployment_is_scaled_by_hand(self, data: st.DataObject, replicas: int) -> None:
        self.edit(self.draw_deployment(data), {"spec": {"replicas": replicas}})

    @precondition(lambda self: self.world.deployments())
    @happening(data=st.data())
    def deployment_loses_its_labels(self, data: st.DataObject) -> None:
        self.edit(self.draw_deployment(data), {"metadata": {"labels": None, "annotations": None}})

    @precondition(lambda self: self.world.all("Service"))
    @happening(selector=st.sampled_from([{"extra": "1"}, {REVISION_LABEL: "zzz"}]))
    def service_is_edited_by_hand(self, selector: dict[str, str]) -> None:
        self.edit(self.world.all("Service")[0], {"spec": {"selector": selector}})

    @precondition(lambda self: self.world.all("Service"))
    @happening()
    def service_is_deleted_by_hand(self) -> None:
        self.world.delete(self.world.all("Service")[0])

    @happening(slots=st.integers(1, 4))
    def runtime_is_changed(self, slots: int) -> None:
        self.world.patch(self.key, {"spec": {"runtime": {"slots": slots}}})

    @happening(spec=st.sampled_from(EDITS))
    def spec_is_edited(self, spec: dict[str, Any]) -> None:
        with suppress(Invalid):  # replicas beside autoscaling, say
            self.world.patch(self.key, {"spec": spec})

    @happening(version=st.sampled_from(["0.1.0", "0.2.0"]))
    def platform_is_upgraded(self, version: str) -> None:
        images = Images(llamacpp=f"example.com/nexus-runtime-llamacpp:{version}")
        self.world.settings = replace(self.world.settings, images=images)

    @precondition(lambda self: not self.world.all("RagIndex", "llmops.nexus/v1alpha1"))
    @happening()
    def index_is_made(self) -> None:
        self.world.create(rag_index())

    # -- what must hold

    @invariant()
    def status_is_well_formed(self) -> None:
        ServingModelStatus.model_validate(self.world.the(self.key).get("status") or {})

    def come_to_rest(self) -> None:
        """Let every Deployment get ready, in a world whose specs can be run."""
        self.world.patch(self.key, {"spec": {"runtime": {"engine": "auto"}}})
        for _ in range(30):
            result = self.world.reconcile(self.key)
            for deployment in self.world.deployments():
                self.world.make_ready(deployment)
            orphans = [one for one in self.world.deployments() if not labels_of(one)]
            for one in orphans:
                self.world.delete(one)
            if result.writes == 0 and self.world.reconcile(self.key).writes == 0:
                break
        model = self.world.the(self.key)
        (deployment,) = self.world.deployments()
        self.check_replicas(model["spec"], deployment["spec"]["replicas"])
        assert labels_of(deployment)[REVISION_LABEL] == self.live()
        self.check_service(self.live())
        assert self.world.condition(self.key, "Progressing")["reason"] == "Settled"
        needs_index = "knowledge" in model["spec"]
        expected = "True" if not needs_index else "False"
        assert self.world.condition(self.key)["status"] == expected
        self.world.advance(3600)
        assert self.world.reconcile(self.key).writes == 0, "a second run writes something"

    def check_replicas(self, spec: dict[str, Any], replicas: int) -> None:
        assert replicas == spec["replicas"]

    # -- reading

    def live(self) -> str | None:
        status = self.world.the(self.key).get("status") or {}
        live: str | None = status.get("liveRevision")
        return live

    def answering(self) -> set[str]:
        return {
            labels_of(one)[REVISION_LABEL]
            for one in self.world.deployments()
            if (one.get("status") or {}).get("readyReplicas") and REVISION_LABEL in labels_of(one)
        }

    def check_service(self, live: str | None) -> None:
        if live is not None:
            (service,) = self.world.all("Service")
            assert service["spec"]["selector"][REVISION_LABEL] == live
            assert set(service["spec"]["selector"]) == {REVISION_LABEL, "llmops.nexus/model"}

    def draw_deployment(self, data: st.DataObject) -> dict[str, Any]:
        drawn: dict[str, Any] = data.draw(st.sampled_from(self.world.deployments()))
        return drawn

    def edit(self, child: dict[str, Any], patch: dict[str, Any]) -> None:
        self.world.run(self.world.cluster.patch(ref_of(child), patch))


ModelWorld.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestModelWorld = pytest.mark.timeout(1500)(ModelWorld.TestCase)


class ClusterModelWorld(ModelWorld):
    """The same on a real Kubernetes: with guards, a claim, and an autoscaler at times."""

    platform = Settings(
        on_kubernetes=True,
        engines=frozenset({"llamacpp", "vllm", "triton"}),
        model_cache=ModelCache(mode="claim"),
    )

    @happening(least=st.integers(1, 3))
    def autoscaling_is_turned_on(self, least: int) -> None:
        bounds = {"minReplicas": least, "maxReplicas": least + 2}
        self.world.patch(self.key, {"spec": {"autoscaling": bounds, "replicas": 1}})

    @happening()
    def autoscaling_is_turned_off(self) -> None:
        self.world.patch(self.key, {"spec": {"autoscaling": None}})

    @precondition(lambda self: self.world.all("HorizontalPodAutoscaler", "autoscaling/v2"))
    @happening(more=st.integers(0, 2))
    def autoscaler_decides(self, more: int) -> None:
        (scaler,) = self.world.all("HorizontalPodAutoscaler", "autoscaling/v2")
        for one in self.world.deployments():
            if name_of(one) == scaler["spec"]["scaleTargetRef"]["name"]:
                replicas = scaler["spec"]["minReplicas"] + more
                self.edit(one, {"spec": {"replicas": replicas}})

    @precondition(lambda self: self.world.all("NetworkPolicy", "networking.k8s.io/v1"))
    @happening()
    def policy_is_deleted_by_hand(self) -> None:
        self.world.delete(self.world.all("NetworkPolicy", "networking.k8s.io/v1")[0])

    @precondition(lambda self: self.world.all("PersistentVolumeClaim"))
    @happening()
    def claim_is_deleted_by_hand(self) -> None:
        self.world.delete(self.world.all("PersistentVolumeClaim")[0])

    def check_replicas(self, spec: dict[str, Any], replicas: int) -> None:
        scalers = self.world.all("HorizontalPodAutoscaler", "autoscaling/v2")
        assert len(scalers) == ("autoscaling" in spec)
        if "autoscaling" not in spec:
            super().check_replicas(spec, replicas)
        assert len(self.world.all("NetworkPolicy", "networking.k8s.io/v1")) == 1
        assert len(self.world.all("PodDisruptionBudget", "policy/v1")) == 1
        assert [name_of(one) for one in self.world.all("PersistentVolumeClaim")] == [
            "assistant-models"
        ]


ClusterModelWorld.TestCase.settings = ModelWorld.TestCase.settings
TestClusterModelWorld = pytest.mark.timeout(1500)(ClusterModelWorld.TestCase)
