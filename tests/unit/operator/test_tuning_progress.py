"""What the status tells of a training that goes on: from its log, else by Argo's word."""

from small_world import World
from tuning import end, fail, fine_tune_job, job_status, node, runs, working

from nexus_api.meta import Manifest
from nexus_operator.objects import name_of
from nexus_operator.plan.tuning_look import TRAINING_LOOK
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.status.tuning_runs import training_pod

TOLD = "progress step=30/120 loss=1.0625 end=2026-01-31T12:40:00Z"


def make(world: World) -> Key:
    key = world.create(fine_tune_job())
    world.settle(key)
    return key


def the_run(world: World) -> Manifest:
    (found,) = runs(world)
    return found


def training(world: World, *lines: str, progress: str = "10/100") -> None:
    """The run trains, and its pod has printed these lines."""
    run = the_run(world)
    began = node(world, "train", "Running", progress=progress, templateName="train")
    working(world, run, {**began, "id": f"{name_of(run)}-123"})
    world.cluster.logs = {f"{name_of(run)}-train-123": "\n".join(lines)}


def test_a_training_that_goes_on_tells_loss_and_end(world: World) -> None:
    key = make(world)
    training(world, "made safetensors", TOLD, "a warning of a library")
    assert world.reconcile(key).requeue_after == TRAINING_LOOK
    last = job_status(world, key)["lastRun"]
    assert (last["progressPercent"], last["loss"]) == (25, "1.0625")
    assert last["expectedEnd"] == "2026-01-31T12:40:00Z"
    training(world, TOLD, progress="11/100")  # Argo has news, the step itself has none
    world.advance(30)
    assert world.reconcile(key).writes == 0
    training(world, "progress step=31/120 loss=0.9 end=2026-01-31T12:41:00Z")
    assert world.reconcile(key).writes == 1
    last = job_status(world, key)["lastRun"]
    assert (last["loss"], last["expectedEnd"]) == ("0.9", "2026-01-31T12:41:00Z")


def test_a_log_that_cannot_be_read_takes_nothing_back(world: World) -> None:
    key = make(world)
    training(world, TOLD)
    world.reconcile(key)
    shown = job_status(world, key)["lastRun"]
    world.cluster.forbidden = {"log Pod"}
    assert world.reconcile(key).writes == 0
    world.cluster.forbidden, world.cluster.logs = set(), {}
    assert world.reconcile(key).writes == 0
    assert job_status(world, key)["lastRun"] == shown
    training(world, progress="40/100")  # nothing printed: Argo's word goes on
    world.advance(60)
    world.reconcile(key)
    last = job_status(world, key)["lastRun"]
    assert (last["progressPercent"], last["loss"]) == (40, "1.0625")
    assert last["expectedEnd"] != "2026-01-31T12:40:00Z"


def test_a_run_that_fails_keeps_the_last_loss_and_has_no_end(world: World) -> None:
    key = make(world)
    training(world, TOLD)
    world.reconcile(key)
    fail(world, the_run(world), "train")
    world.settle(key)
    last = job_status(world, key)["lastRun"]
    assert last["loss"] == "1.0625"
    assert "expectedEnd" not in last


def test_the_pod_of_a_long_name_is_named_as_argo_does() -> None:
    train = {"type": "Pod", "phase": "Running", "displayName": "train(1)", "id": "x-77"}
    run = {"metadata": {"name": "r" * 240}, "status": {"nodes": {"x-77": train}}}
    assert training_pod(run) == f"{'r' * 240}-t-77"
    train["phase"] = "Succeeded"
    assert training_pod(run) is None


def test_steps_of_one_second_stand_by_what_waited_for_what(world: World) -> None:
    """Ids are hashes, so they tell nothing: here that of the first step is the greater one."""
    key = make(world)
    run = the_run(world)
    selected = {"id": "y", "displayName": "select", "type": "Retry", "children": ["z"]}
    select = node(world, "select", "Succeeded") | {"id": "z", "children": ["b"]}
    validated = {"id": "b", "displayName": "validate", "type": "Retry", "children": ["a", "c"]}
    first = node(world, "validate", "Failed", message="the first try") | {"id": "c"}
    last = {**first, "id": "a", "displayName": "validate(1)", "message": "the last try"}
    end(world, run, "Failed", selected, select, validated, first, last)
    world.settle(key)
    told = job_status(world, key)
    assert told["lastRun"]["step"] == "validate"
    (failed,) = [one for one in told["conditions"] if one["type"] == "LastRunSucceeded"]
    assert "the last try" in failed["message"]
    circle = select | {"children": ["y"]}
    end(world, run, "Failed", selected, circle)
    world.settle(key)
    assert job_status(world, key)["lastRun"]["step"] == "select"
