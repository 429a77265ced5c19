"""The committed WorkflowTemplates: what they promise, and how they run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    for name in ("nexus-sync", "nexus-teardown"):
        await platform.cluster.create(template(name))
    return platform


@pytest.mark.parametrize("name", ["nexus-sync", "nexus-teardown"])
def test_every_workflow_is_bounded_and_restricted(name: str) -> None:
    spec = template(name)["spec"]
    assert spec["ttlStrategy"]["secondsAfterCompletion"] > 0
    assert spec["podGC"]["strategy"]
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["parallelism"] > 0
    assert "{{workflow.parameters.index}}" in spec["synchronization"]["mutexes"][0]["name"]
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


async def test_a_parameter_left_out_is_named(site: Platform) -> None:
    parameters = {key: value for key, value in SYNC.items() if key != "uid"}
    status = await site.outcome(run_of("nexus-sync", parameters))
    assert status["phase"] == "Failed"
    assert "uid has no value" in status["message"]
