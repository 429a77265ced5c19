"""Whatever the operator makes is watched: what somebody does to it by hand is heard of at once."""

from small_world import World, rag_index, serving_model
from tuning import fine_tune_job

from nexus_operator.objects import ref_of
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.platform import reconcile_platform
from nexus_operator.reconcile.routes import children
from nexus_operator.settings import Events, ModelCache, Owner, Scrape, Settings

SETTINGS = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "triton", "vllm"}),
    events=Events(source="webhook", alerts=True),
    model_cache=ModelCache(mode="claim"),
    owner=Owner(name="nexus-operator", uid="u-9"),
    scrape=Scrape(),
)
ADAPTED = {"uri": "hf://org/model", "adapters": [{"name": "polite", "uri": "s3://adapters/one/"}]}
ALERT = {"alerts": [{"matchers": {"alertname": "Low"}}]}
NOT_KEPT = {"Event"}
"""News, which the cluster itself forgets."""


def test_every_kind_that_is_made_is_watched() -> None:
    world = World(SETTINGS)
    for one in (
        serving_model(autoscaling={"minReplicas": 2, "maxReplicas": 3}),
        serving_model("adapted", model=ADAPTED),
        rag_index(),
        fine_tune_job(triggers=ALERT),
    ):
        world.settle(world.create(one))
    world.run(reconcile_platform(world.cluster, SETTINGS))
    made = {ref.kind for ref in world.cluster.objects} - set(KINDS) - NOT_KEPT
    world.close()
    assert {"ConfigMap", "HorizontalPodAutoscaler", "PersistentVolumeClaim", "PodMonitor"} <= made
    assert made <= {one.kind for one in children(SETTINGS)}


def test_config_maps_are_watched_only_where_there_are_adapters_to_load() -> None:
    kinds = {one.kind for one in children(Settings(on_kubernetes=True))}
    assert "ConfigMap" not in kinds, "the operator has no right to it"


def test_a_deployment_that_somebody_unlabelled_is_ours_by_its_owner() -> None:
    world = World(SETTINGS)
    key = world.create(serving_model(autoscaling={"minReplicas": 2, "maxReplicas": 3}))
    world.settle(key)
    (deployment,) = world.deployments()
    labels = dict.fromkeys(deployment["metadata"]["labels"])
    world.run(world.cluster.patch(ref_of(deployment), {"metadata": {"labels": labels}}))
    world.reconcile(key)
    (again,) = world.deployments()
    refused = world.condition(key, "Refused")
    world.close()
    assert again["metadata"]["labels"] == deployment["metadata"]["labels"]
    assert not refused
