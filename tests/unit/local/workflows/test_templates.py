"""The committed WorkflowTemplates: what they promise, and how they run."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from nexus_local.workflows.nodes import Node, NodeType, Phase
from nexus_local.workflows.retry import GiveUp, WaitUntil, next_attempt

from .conftest import Platform, Script, named, phases

ARGO = Path(__file__).parents[4] / "argo"
SYNC = {
    "namespace": "team",
    "index": "handbook",
    "uid": "u-1",
    "request": "r-1",
    "settings": '{"source":{"include":["{{weird}}"]}}',
    "fingerprint": "0123456789",
}
LOCKS = {
    "nexus-sync": "index.{{workflow.parameters.namespace}}.{{workflow.parameters.index}}",
    "nexus-teardown": "index.{{workflow.parameters.namespace}}.{{workflow.parameters.index}}",
    "nexus-finetune": "job.{{workflow.parameters.namespace}}.{{workflow.parameters.job}}",
    "nexus-finetune-teardown": "job.{{workflow.parameters.namespace}}.{{workflow.parameters.job}}",
    "nexus-count": "count.{{workflow.parameters.namespace}}.{{workflow.parameters.job}}",
    "nexus-release": "release.{{workflow.parameters.namespace}}.{{workflow.parameters.job}}",
}


def template(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ARGO / f"{name}.yaml").read_text(encoding="utf-8"))
    found["metadata"]["namespace"] = "default"
    return found


def run_of(name: str, parameters: dict[str, str], **more: Any) -> dict[str, Any]:
    given = [{"name": key, "value": value} for key, value in parameters.items()]
    reference = {"workflowTemplateRef": {"name": name}}
    return {**reference, "arguments": {"parameters": given}, **more}


@pytest.fixture
async def site(platform: Platform) -> Platform:
    for name in LOCKS:
        await platform.cluster.create(template(name))
    return platform


@pytest.mark.parametrize("name", LOCKS)
def test_every_workflow_is_bounded_and_restricted(name: str) -> None:
    spec = template(name)["spec"]
    assert spec["ttlStrategy"]["secondsAfterCompletion"] > 0
    assert spec["podGC"]["strategy"]
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["parallelism"] > 0
    assert spec["synchronization"]["mutexes"] == [{"name": LOCKS[name]}]
    assert spec["serviceAccountName"] == "nexus-pipelines"
    assert spec["securityContext"]["runAsNonRoot"] is True
    patch = yaml.safe_load(spec["podSpecPatch"])
    assert patch["enableServiceLinks"] is False
    for container in (*patch["initContainers"], *patch["containers"]):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    for part in spec["templates"]:
        if "container" in part:
            assert part["container"]["command"] == ["nexus-pipelines"]
            assert part["container"]["securityContext"]["allowPrivilegeEscalation"] is False
            assert part["container"]["securityContext"]["readOnlyRootFilesystem"] is True
            assert part["retryStrategy"]["retryPolicy"] == "Always"
            assert {"name": "tmp", "mountPath": "/tmp"} in part["container"]["volumeMounts"]


async def test_a_sync_plans_ingests_each_shard_and_publishes(site: Platform) -> None:
    shards = [{"key": "syncs/wf/shard-0001.json", "count": 7}, {"key": "b", "count": 1}]
    site.runner.plays(
        "plan", Script(outputs={"/tmp/shards.json": json.dumps(shards), "/tmp/count": "2\n"})
    )
    site.runner.plays("publish", Script(outputs={"/tmp/report.json": '{"chunks":3}'}))
    status = await site.outcome(run_of("nexus-sync", SYNC, parallelism=1))
    assert status["phase"] == "Succeeded", status["message"]
    assert named(status, "publish")["outputs"]["parameters"][0] == {
        "name": "report",
        "value": '{"chunks":3}',
        "valueFrom": {"path": "/tmp/report.json"},
    }
    assert site.runner.most_running == 1
    pods = {name.rpartition(".")[2]: pod for name, pod in site.runner.pods.items()}
    plan = next(pod for name, pod in site.runner.pods.items() if ".plan(0)" in name)
    container = plan["spec"]["containers"][0]
    assert container["args"][:2] == ["sync-plan", "--namespace=team"]
    assert f"--settings={SYNC['settings']}" in container["args"]
    assert "--shards-out=/tmp/shards.json" in container["args"]
    assert container["image"].startswith("ghcr.io/llmops-nexus/nexus-pipelines:")
    assert container["envFrom"][0] == {"configMapRef": {"name": "nexus-platform"}}
    assert plan["metadata"]["labels"]["llmops.nexus/index"] == "handbook"
    shown = [a for pod in pods.values() for a in pod["spec"]["containers"][0]["args"]]
    assert '--shard={"count":7,"key":"syncs/wf/shard-0001.json"}' in shown
    assert site.found()["status"]["synchronization"]["mutex"]["holding"] == [
        {"mutex": "default/Mutex/index.team.handbook", "holder": "default/wf"}
    ]


async def test_a_sync_with_nothing_to_do_skips_the_ingestion(site: Platform) -> None:
    site.runner.plays("plan", Script(outputs={"/tmp/shards.json": "[]", "/tmp/count": "0"}))
    site.runner.plays("publish", Script(outputs={"/tmp/report.json": "{}"}))
    status = await site.outcome(run_of("nexus-sync", SYNC))
    assert named(status, "ingest")["phase"] == "Skipped"
    assert status["phase"] == "Succeeded"


async def test_a_shard_that_fails_holds_back_nothing_but_the_run_counts_as_failed(
    site: Platform,
) -> None:
    site.runner.plays(
        "plan",
        Script(outputs={"/tmp/shards.json": '[{"key": "a"}, {"key": "b"}]', "/tmp/count": "2"}),
    )
    site.runner.plays("ingest(0:key:a)(0)", Script(exit_code=1))
    site.runner.plays("publish", Script(outputs={"/tmp/report.json": "{}"}))
    status = await site.outcome(run_of("nexus-sync", SYNC))
    assert named(status, "ingest(0:key:a)")["phase"] == "Failed"
    assert named(status, "ingest(1:key:b)")["phase"] == "Succeeded"
    assert named(status, "publish")["phase"] == "Succeeded"
    assert status["phase"] == "Failed"


async def test_a_sync_whose_plan_fails_publishes_nothing(site: Platform) -> None:
    site.runner.plays("plan", Script(exit_code=1))
    status = await site.outcome(run_of("nexus-sync", SYNC))
    shown = phases(status)
    assert (shown["plan"], shown["ingest"], shown["publish"]) == ("Failed", "Omitted", "Omitted")
    assert status["phase"] == "Failed"


async def test_a_teardown_is_one_step(site: Platform) -> None:
    parameters = {"namespace": "team", "index": "handbook", "uid": "u-1", "policy": "Retain"}
    status = await site.outcome(run_of("nexus-teardown", parameters))
    assert status["phase"] == "Succeeded"
    args = site.runner.pods["wf(0)"]["spec"]["containers"][0]["args"]
    assert args[0] == "teardown"
    assert "--policy=Retain" in args


async def test_a_teardown_of_a_job_is_one_step(site: Platform) -> None:
    parameters = {"namespace": "team", "job": "tuning", "uid": "u-1"}
    status = await site.outcome(run_of("nexus-finetune-teardown", parameters))
    assert status["phase"] == "Succeeded"
    args = site.runner.pods["wf(0)"]["spec"]["containers"][0]["args"]
    assert args == ["finetune-teardown", "--namespace=team", "--job=tuning", "--uid=u-1"]


async def test_a_parameter_left_out_is_named(site: Platform) -> None:
    parameters = {key: value for key, value in SYNC.items() if key != "uid"}
    status = await site.outcome(run_of("nexus-sync", parameters))
    assert status["phase"] == "Failed"
    assert "uid has no value" in status["message"]


FINETUNE = {
    "namespace": "team",
    "job": "tuning",
    "uid": "u-1",
    "request": "r-1",
    "settings": '{"data":{}}',
    "production": '{"base":"pkg://x"}',
    "trainPod": '{"containers":[{"name":"main","resources":{"limits":{"nvidia.com/gpu":"1"}}}]}',
    "trainSeconds": "3600",
    "evaluatePod": '{"containers":[{"name":"main","resources":{"limits":{"nvidia.com/gpu":"2"}}}]}',
    "evaluateGpus": "2",
}
PROMOTED = ["select", "validate", "train", "evaluate", "gate", "register"]


def plays_a_run(site: Platform, verdict: str) -> None:
    for task, file in (
        ("select", "selection"),
        ("validate", "report"),
        ("train", "training"),
        ("evaluate", "evaluation"),
    ):
        site.runner.plays(task, Script(outputs={f"/tmp/{file}.json": '{"of":"' + task + '"}'}))
    decision = json.dumps({"verdict": verdict})
    site.runner.plays(
        "gate", Script(outputs={"/tmp/decision.json": decision, "/tmp/verdict": verdict})
    )
    site.runner.plays(
        "register", Script(outputs={"/tmp/version.json": '{"version":"7"}', "/tmp/number": "7\n"})
    )


def args_of(site: Platform, task: str) -> list[str]:
    pod = next(pod for name, pod in site.runner.pods.items() if f".{task}(0)" in name)
    found: list[str] = pod["spec"]["containers"][0]["args"]
    return found


async def test_a_run_that_passes_the_gate_is_registered_and_releases_nothing_itself(
    site: Platform,
) -> None:
    plays_a_run(site, "Promote")
    status = await site.outcome(run_of("nexus-finetune", {**FINETUNE, "promotion": "Auto"}))
    assert status["phase"] == "Succeeded", status["message"]
    assert site.runner.started == [f"wf.{step}(0)" for step in PROMOTED]
    for task in PROMOTED:
        given = args_of(site, task)
        assert given[:5] == [
            f"finetune-{task}",
            "--namespace=team",
            "--job=tuning",
            "--uid=u-1",
            "--run=wf",
        ]
        assert f"--settings={FINETUNE['settings']}" in given
    created = site.found()["metadata"]["creationTimestamp"]
    assert f"--as-of={created}" in args_of(site, "select")
    assert f"--production={FINETUNE['production']}" in args_of(site, "evaluate")
    images = {
        task: next(
            pod["spec"]["containers"][0]["image"]
            for name, pod in site.runner.pods.items()
            if f".{task}(0)" in name
        )
        for task in PROMOTED
    }
    trained = {task for task, image in images.items() if "/nexus-trainer:" in image}
    assert trained == {"train", "evaluate"}


@pytest.mark.parametrize("told", [{"trainGpus": "2"}, {}])
async def test_the_training_learns_how_many_gpus_its_pod_holds_and_by_no_argument(
    site: Platform, told: dict[str, str]
) -> None:
    """An operator of an older release tells none, and names a trainer that takes no such one."""
    plays_a_run(site, "Reject")
    status = await site.outcome(run_of("nexus-finetune", {**FINETUNE, **told}))
    assert status["phase"] == "Succeeded", status["message"]
    [train] = [pod for name, pod in site.runner.pods.items() if ".train(0)" in name]
    env = {one["name"]: one.get("value") for one in train["spec"]["containers"][0]["env"]}
    assert env["NEXUS_GPUS"] == told.get("trainGpus", "0")
    assert not any("gpus" in one for one in args_of(site, "train"))


@pytest.mark.parametrize("verdict", ["AskPerson", "Reject", "Underpowered"])
async def test_whatever_the_verdict_a_gated_run_is_recorded(site: Platform, verdict: str) -> None:
    plays_a_run(site, verdict)
    told = {"/tmp/version.json": '{"mlflowRun":"r"}', "/tmp/number": ""}
    site.runner.plays("register", Script(outputs=told))
    status = await site.outcome(run_of("nexus-finetune", {**FINETUNE, "promotion": "Auto"}))
    assert status["phase"] == "Succeeded", status["message"]
    assert phases(status)["register"] == "Succeeded"
    left = {one["name"]: one["value"] for one in named(status, "register")["outputs"]["parameters"]}
    assert left == {"version": '{"mlflowRun":"r"}', "number": ""}


def test_a_registry_that_is_away_for_an_hour_costs_no_training() -> None:
    """And the waits go on in even steps: the registry is back long before a run is given up."""
    spec = template("nexus-finetune")["spec"]
    step = next(one for one in spec["templates"] if one["name"] == "register")
    now = began = datetime(2026, 1, 1, tzinfo=UTC)
    tries: list[Node] = []
    waits: list[float] = []
    while True:
        tries.append(
            Node(
                id="wf-0",
                name="wf(0)",
                type=NodeType.POD,
                phase=Phase.FAILED,
                started_at=now,
                finished_at=now,
                outputs={"exitCode": "75"},
            )
        )
        following = next_attempt(step["retryStrategy"], tries, now)
        if not isinstance(following, WaitUntil):
            break
        waits.append((following.moment - now).total_seconds())
        now = following.moment
    assert following == GiveUp("No more retries left")
    assert 3600 < (now - began).total_seconds() < 2 * 3600
    assert max(waits) <= 300
    # With every try as long as it may be, and the steps before it, it ends before the run does.
    assert len(tries) * step["activeDeadlineSeconds"] + sum(waits) < spec["activeDeadlineSeconds"]


async def test_data_that_fails_its_gates_ends_the_run(site: Platform) -> None:
    plays_a_run(site, "Promote")
    site.runner.plays("validate", Script(exit_code=1))
    status = await site.outcome(run_of("nexus-finetune", FINETUNE))
    assert status["phase"] == "Failed"
    assert site.runner.started == ["wf.select(0)", "wf.validate(0)"]


@pytest.mark.parametrize(("action", "other"), [("release", "rollback"), ("rollback", "release")])
async def test_a_person_moves_the_alias_one_way(site: Platform, action: str, other: str) -> None:
    site.runner.plays(action, Script(outputs={"/tmp/release.json": '{"champion":"3"}'}))
    parameters = {
        "namespace": "team",
        "job": "tuning",
        "uid": "u-1",
        "settings": "{}",
        "action": action,
        "version": "3",
        "by": "ada",
    }
    status = await site.outcome(run_of("nexus-release", parameters))
    shown = phases(status)
    assert (shown[action], shown[other]) == ("Succeeded", "Skipped")
    given = args_of(site, action)
    assert given[0] == f"finetune-{action}"
    assert ("--version=3" in given) == (action == "release")
    assert "--by=ada" in given


async def test_a_count_gives_what_it_found_and_asks_as_of_its_start(site: Platform) -> None:
    found = '{"digest":"d","examples":3,"since":"run"}'
    site.runner.plays("count", Script(outputs={"/tmp/new-data.json": found}))
    parameters = {
        "namespace": "team",
        "job": "tuning",
        "uid": "u-1",
        "settings": "{}",
        "number": "7",
        "after": "run",
    }
    status = await site.outcome(run_of("nexus-count", parameters))
    assert named(status, "count")["outputs"]["parameters"][0]["value"] == found
    given = args_of(site, "count")
    assert given[0] == "finetune-count"
    assert any(one.startswith("--as-of=20") for one in given)
