"""The end of a FineTuneJob: its runs end, what they wrote goes, and then the job does."""

from contextlib import suppress
from unittest import mock

import pytest
from small_world import World
from tuning import (
    TEARDOWN,
    end,
    fail,
    fine_tune_job,
    finish_run,
    job_status,
    let_go,
    names,
    parameters,
    runs,
    the_run,
    unfinished,
    working,
)

from nexus_api.meta import FINALIZER, FORCE_RELEASE, JOB_LABEL, LINEAGE
from nexus_operator.objects import labels_of, name_of
from nexus_operator.reconcile import carry_out
from nexus_operator.reconcile.reconcile import Key


class Killed(Exception):
    """The operator's process ended."""


def make(world: World) -> Key:
    key = world.create(fine_tune_job())
    world.settle(key)
    return key


def ran(world: World) -> Key:
    key = make(world)
    finish_run(world, the_run(world), "Reject")
    world.settle(key)
    return key


def told(world: World, key: Key) -> tuple[str, str]:
    ready = world.condition(key)
    return ready["reason"], ready["message"]


def test_a_run_under_way_ends_before_what_it_wrote_is_removed(world: World) -> None:
    """A training that is killed writes a last checkpoint, so that its pods must be gone."""
    key = make(world)
    run = the_run(world)
    working(world, run)
    world.delete(key)
    world.settle(key)
    stopped = the_run(world)
    assert stopped["spec"]["shutdown"] == "Terminate"
    assert told(world, key)[0] == "Stopping"
    assert runs(world, TEARDOWN) == []
    end(world, stopped, "Failed")
    world.reconcile(key)
    assert world.workflows() == []
    world.settle(key)
    teardown = the_run(world, TEARDOWN)
    meta = world.the(key)["metadata"]
    assert labels_of(teardown)[JOB_LABEL] == "tuning"
    given = {"namespace": "default", "job": "tuning", "uid": meta["uid"]}
    assert parameters(teardown).items() >= given.items()
    assert meta["finalizers"] == [FINALIZER]
    assert "its registered versions stay" in told(world, key)[1]
    end(world, teardown, "Succeeded")
    world.reconcile(key)
    assert world.get(key.ref) is None
    assert world.workflows() == []


def test_what_runs_wrote_is_removed_when_no_pod_of_one_is_left(world: World) -> None:
    """Argo calls a run over while a pod that had just been started still has its grace."""
    key = make(world)
    run = the_run(world)
    pod = world.start_pod(run)
    world.start_pod(run, **{JOB_LABEL: "another"})
    world.set_status(world.start_pod(run), {"phase": "Succeeded"})
    world.delete(key)
    world.settle(key)
    end(world, the_run(world), "Failed")
    world.settle(key)
    assert world.workflows() == []
    reason, message = told(world, key)
    assert reason == "Stopping"
    assert f"when the pod {name_of(pod)} of a run has ended" in message
    world.delete(pod)
    world.settle(key)
    assert the_run(world, TEARDOWN)


def test_a_run_whose_workflow_nobody_told_of_is_cleaned_up_after(world: World) -> None:
    """The operator was killed before the status told of the run, and the run is gone since."""
    key = make(world)
    cleared = dict.fromkeys(job_status(world, key))
    world.run(world.cluster.patch(key.ref, {"status": cleared}, subresource="status"))
    end(world, the_run(world), "Failed")
    world.delete(key)
    world.reconcile(key)
    assert world.workflows() == []
    world.settle(key)
    assert the_run(world, TEARDOWN)


def test_a_job_that_never_ran_goes_at_once(world: World) -> None:
    """Even where Argo is not installed."""
    world.cluster.missing.add("Workflow")
    key = world.create(fine_tune_job(suspend=True))
    world.settle(key)
    world.delete(key)
    world.reconcile(key)
    assert world.get(key.ref) is None
    world.cluster.missing.clear()
    assert world.workflows() == []


def test_a_restored_job_that_did_not_run_since_is_cleaned_up_after(world: World) -> None:
    made = fine_tune_job(suspend=True)
    made["metadata"]["annotations"] = {LINEAGE: "an-old-uid"}
    key = world.create(made)
    world.settle(key)
    world.delete(key)
    let_go_of_moves(world, key)
    assert parameters(the_run(world, TEARDOWN))["uid"] == "an-old-uid"


def let_go_of_moves(world: World, key: Key) -> None:
    world.settle(key)
    for move in unfinished(world, "nexus-release"):
        end(world, move, "Failed")
    world.settle(key)


def test_without_argo_it_says_how_to_let_go(world: World) -> None:
    key = ran(world)
    for run in runs(world):
        world.delete(run)
    world.cluster.missing.add("Workflow")
    world.delete(key)
    world.settle(key)
    reason, message = told(world, key)
    assert reason == "ArgoWorkflowsMissing"
    assert f'let the job go by setting its annotation {FORCE_RELEASE} to "true"' in message
    world.annotate(key, FORCE_RELEASE, "true")
    world.reconcile(key)
    assert world.get(key.ref) is None


def test_a_store_that_is_away_is_asked_again_until_it_is_back(world: World) -> None:
    key = ran(world)
    world.delete(key)
    world.settle(key)
    for number in (1, 2, 3):
        fail(world, the_run(world, TEARDOWN), "teardown", 75)
        world.settle(key)
        assert told(world, key)[0] == "TeardownFailed"
        assert len(runs(world, TEARDOWN)) == number
        world.advance(601)
        world.settle(key)
    let_go(world, key)


def test_killed_between_the_end_of_its_teardown_and_its_release(world: World) -> None:
    key = ran(world)
    world.delete(key)
    world.settle(key)
    end(world, the_run(world, TEARDOWN), "Succeeded")
    with mock.patch.object(carry_out, "_set_finalizers", side_effect=Killed), suppress(Killed):
        world.reconcile(key)
    assert world.workflows() == []
    world.reconcile(key)
    assert world.get(key.ref) is None


@pytest.mark.parametrize("restored", [False, True])
def test_a_teardown_of_a_former_job_may_end_and_a_new_run_waits_for_it(
    world: World, *, restored: bool
) -> None:
    key = ran(world)
    uid = world.the(key)["metadata"]["uid"]
    world.delete(key)
    world.settle(key)
    teardown = the_run(world, TEARDOWN)
    world.patch(key, {"metadata": {"finalizers": []}})
    assert world.get(key.ref) is None
    made = fine_tune_job()
    made["metadata"]["annotations"] = {LINEAGE: uid} if restored else {}
    world.create(made)
    world.settle(key)
    assert names(runs(world, TEARDOWN)) == names([teardown])
    assert runs(world) == []
    assert told(world, key)[0] == "Waiting"
    end(world, teardown, "Succeeded")
    world.settle(key)
    assert runs(world, TEARDOWN) == []
    if not restored:
        assert parameters(the_run(world))["uid"] != uid
