"""A registry that is away for longer than `register` waits for it."""

from small_world import World
from tuning import (
    decision,
    end,
    fine_tune_job,
    finish_run,
    job_status,
    names,
    node,
    reporting,
    runs,
    the_run,
    working,
)


def test_a_registry_that_stays_away_is_named_and_the_run_goes_on_where_argo_retries_it(
    world: World,
) -> None:
    key = world.create(fine_tune_job())
    world.settle(key)
    run = the_run(world)
    said = "cannot find the run: MLflow at http://nexus-mlflow:5000 did not do it in 5 attempts"
    last = node(world, "register", "Failed", message=said, outputs={"exitCode": "75"})
    done = reporting(world, "gate", decision=decision("Promote"), verdict="Promote")
    end(world, run, "Failed", done, last | {"displayName": "register(18)"})
    world.settle(key)
    told = world.condition(key, "LastRunSucceeded")
    assert (told["status"], told["reason"]) == ("False", "DependencyUnavailable")
    assert f"step `register(18)`: {said}" in told["message"]
    assert "registeredVersion" not in job_status(world, key)
    world.advance(10**6)
    world.settle(key)
    assert names(runs(world)) == names([run])

    working(world, run, done, node(world, "register", "Running"))
    world.settle(key)
    assert world.condition(key, "Running")["status"] == "True"
    finish_run(world, run, "Promote", "1")
    world.settle(key)
    assert names(runs(world)) == names([run])
    assert world.condition(key, "LastRunSucceeded")["status"] == "True"
    assert job_status(world, key)["registeredVersion"] == "1"
