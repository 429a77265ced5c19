"""Order, conditions, fan-out and phases of a DAG, as Argo has them."""

import asyncio
import json
from typing import Any

import pytest

from .conftest import Platform, Script, dag, named, phases, step, writes


async def test_tasks_run_in_the_order_of_their_dependencies(platform: Platform) -> None:
    spec = dag(
        {"name": "c", "depends": "a && b"}, {"name": "b", "dependencies": ["a"]}, {"name": "a"}
    )
    status = await platform.outcome(spec)
    assert platform.runner.started == ["wf.a", "wf.b", "wf.c"]
    assert status["phase"] == "Succeeded"
    assert status["progress"] == "3/3"
    assert phases(status) == {
        "wf": "Succeeded",
        "a": "Succeeded",
        "b": "Succeeded",
        "c": "Succeeded",
    }


async def test_nodes_have_the_ids_and_names_that_argo_gives_them(platform: Platform) -> None:
    status = await platform.outcome(dag({"name": "a"}))
    node = named(status, "a")
    assert node["id"] == "wf-2962115457"
    assert node["name"] == "wf.a"
    assert node["type"] == "Pod"
    assert node["boundaryID"] == "wf"
    assert node["templateName"] == "step"
    assert node["templateScope"] == "local/wf"
    assert node["outputs"] == {"exitCode": "0"}
    root = status["nodes"]["wf"]
    assert root["type"] == "DAG"
    assert root["children"] == [node["id"]]
    assert root["outboundNodes"] == [node["id"]]
    assert platform.runner.pods["wf.a"]["metadata"]["name"] == "wf-step-2962115457"


async def test_outputs_flow_into_arguments(platform: Platform) -> None:
    consumer = step(
        "use", inputs={"parameters": [{"name": "text"}, {"name": "more", "default": 3}]}
    )
    consumer["container"]["args"] = ["{{inputs.parameters.text}}|{{inputs.parameters.more}}"]
    spec = dag(
        {"name": "a", "template": "make"},
        {
            "name": "b",
            "template": "use",
            "depends": "a",
            "arguments": {
                "parameters": [{"name": "text", "value": "<{{tasks.a.outputs.parameters.x}}>"}]
            },
        },
        templates=(writes("make", "x"), consumer),
    )
    platform.runner.plays("a", Script(outputs={"/tmp/x": 'quote " and\nline {{workflow.name}}\n'}))
    status = await platform.outcome(spec)
    args = platform.runner.pods["wf.b"]["spec"]["containers"][0]["args"]
    assert args == ['<quote " and\nline {{workflow.name}}>|3']
    assert named(status, "a")["outputs"] == {
        "exitCode": "0",
        "parameters": [
            {
                "name": "x",
                "value": 'quote " and\nline {{workflow.name}}',
                "valueFrom": {"path": "/tmp/x"},
            }
        ],
    }
    assert named(status, "b")["inputs"]["parameters"][1] == {"name": "more", "value": "3"}


async def test_a_missing_output_is_an_error_unless_it_has_a_default(platform: Platform) -> None:
    with_default = writes("soft", "x")
    with_default["outputs"]["parameters"][0]["valueFrom"]["default"] = 7
    spec = dag(
        {"name": "a", "template": "hard"},
        {"name": "b", "template": "soft"},
        templates=(writes("hard", "x"), with_default),
    )
    status = await platform.outcome(spec)
    assert phases(status) == {"wf": "Error", "a": "Error", "b": "Succeeded"}
    assert "did not write /tmp/x" in named(status, "a")["message"]
    assert named(status, "b")["outputs"]["parameters"][0]["value"] == "7"


async def test_a_failed_task_omits_what_depends_on_it_and_fails_the_dag(
    platform: Platform,
) -> None:
    platform.runner.plays("a", Script(exit_code=3))
    status = await platform.outcome(
        dag({"name": "a"}, {"name": "b", "depends": "a"}, {"name": "c", "depends": "b"})
    )
    assert phases(status) == {"wf": "Failed", "a": "Failed", "b": "Omitted", "c": "Omitted"}
    assert named(status, "a")["message"] == "main: Error (exit code 3)"
    assert named(status, "b")["type"] == "Skipped"
    assert named(status, "b")["message"] == "omitted: depends condition not met"
    assert status["phase"] == "Failed"


async def test_a_handled_failure_leaves_the_dag_succeeded(platform: Platform) -> None:
    platform.runner.plays("a", Script(exit_code=1))
    status = await platform.outcome(dag({"name": "a"}, {"name": "b", "depends": "a.Failed"}))
    assert phases(status) == {"wf": "Succeeded", "a": "Failed", "b": "Succeeded"}


async def test_a_failure_before_a_skipped_target_still_fails_the_dag(platform: Platform) -> None:
    platform.runner.plays("a", Script(exit_code=1))
    status = await platform.outcome(
        dag({"name": "a"}, {"name": "b", "depends": "a.Failed", "when": "1 > 2"})
    )
    assert phases(status) == {"wf": "Failed", "a": "Failed", "b": "Skipped"}
    assert named(status, "b")["message"] == "when '1 > 2' evaluated false"


@pytest.mark.parametrize(
    ("exit_code", "result", "runs"),
    [
        (0, "a.Succeeded", True),
        (0, "a.Failed", False),
        (1, "a.Failed || a.Errored", True),
        (1, "!a.Succeeded", True),
        (None, "a.Errored", True),
        (None, "a.Failed", False),
        (0, "a && !(a.Omitted || a.Skipped)", True),
    ],
)
async def test_task_results_decide(
    platform: Platform, exit_code: int | None, result: str, *, runs: bool
) -> None:
    platform.runner.plays("a", Script(exit_code=exit_code, reason="" if exit_code == 0 else "X"))
    status = await platform.outcome(dag({"name": "a"}, {"name": "b", "depends": result}))
    assert named(status, "b")["phase"] == ("Succeeded" if runs else "Omitted")


def shards(*items: Any, **more: Any) -> dict[str, Any]:
    """plan -> ingest per item -> publish."""
    worker = writes("work", "n", inputs={"parameters": [{"name": "shard"}]})
    worker["container"]["args"] = ["{{inputs.parameters.shard}}"]
    return dag(
        {"name": "plan", "template": "plan"},
        {
            "name": "ingest",
            "template": "work",
            "depends": "plan",
            "withParam": "{{tasks.plan.outputs.parameters.shards}}",
            "arguments": {"parameters": [{"name": "shard", "value": "{{item}}"}]},
            **more,
        },
        {
            "name": "publish",
            "template": "end",
            "depends": "ingest.Succeeded || ingest.Failed || ingest.Skipped",
            "arguments": {
                "parameters": [{"name": "all", "value": "{{tasks.ingest.outputs.parameters.n}}"}]
            },
        },
        templates=(
            writes("plan", "shards"),
            worker,
            step("end", inputs={"parameters": [{"name": "all"}]}),
        ),
    )


async def test_fan_out_over_a_list_of_maps(platform: Platform) -> None:
    items = [{"key": "s/1.json", "count": 2}, {"key": "(s)", "count": 1}]
    platform.runner.plays("plan", Script(outputs={"/tmp/shards": json.dumps(items)}))
    platform.runner.plays("ingest(0:count:2,key:s/1.json)", Script(outputs={"/tmp/n": "[1]"}))
    platform.runner.plays("ingest(1:count:1,key:s)", Script(outputs={"/tmp/n": "[2]"}))
    status = await platform.outcome(shards())
    assert status["phase"] == "Succeeded"
    group = named(status, "ingest")
    assert group["type"] == "TaskGroup"
    assert len(group["children"]) == 2
    args = platform.runner.pods["wf.ingest(0:count:2,key:s/1.json)"]["spec"]["containers"][0][
        "args"
    ]
    assert args == ['{"count":2,"key":"s/1.json"}']
    assert named(status, "publish")["inputs"]["parameters"] == [
        {"name": "all", "value": "[[1],[2]]"}
    ]
    children = {status["nodes"][child]["displayName"] for child in group["children"]}
    assert children == {"ingest(0:count:2,key:s/1.json)", "ingest(1:count:1,key:s)"}
    for child in group["children"]:
        assert status["nodes"][child]["children"] == [named(status, "publish")["id"]]


async def test_plain_outputs_of_a_fan_out_are_a_list_of_texts_of_those_that_succeeded(
    platform: Platform,
) -> None:
    platform.runner.plays("plan", Script(outputs={"/tmp/shards": '["a", "b", "c"]'}))
    platform.runner.plays("ingest(0:a)", Script(outputs={"/tmp/n": "1"}))
    platform.runner.plays("ingest(1:b)", Script(exit_code=1))
    platform.runner.plays("ingest(2:c)", Script(outputs={"/tmp/n": '{"x": 1}'}))
    status = await platform.outcome(shards())
    assert named(status, "ingest")["phase"] == "Failed"
    assert named(status, "publish")["inputs"]["parameters"][0]["value"] == '["1","{\\"x\\": 1}"]'
    assert status["phase"] == "Succeeded"


async def test_nothing_to_fan_out_over_is_skipped(platform: Platform) -> None:
    platform.runner.plays("plan", Script(outputs={"/tmp/shards": "[]"}))
    status = await platform.outcome(shards())
    assert named(status, "ingest")["phase"] == "Skipped"
    assert named(status, "ingest")["type"] == "Skipped"
    assert named(status, "ingest")["message"] == "Skipped, empty params"
    assert named(status, "publish")["inputs"]["parameters"][0]["value"] == ""
    assert status["phase"] == "Succeeded"


async def test_when_may_look_at_the_item(platform: Platform) -> None:
    platform.runner.plays("plan", Script(outputs={"/tmp/shards": '[{"n": 0}, {"n": 4}]'}))
    platform.runner.plays("ingest", Script(outputs={"/tmp/n": "4"}))
    status = await platform.outcome(shards(when="{{item.n}} > 0"))
    assert named(status, "ingest(0:n:0)")["phase"] == "Skipped"
    assert named(status, "ingest(0:n:0)")["message"] == "when '0 > 0' evaluated false"
    assert named(status, "ingest(1:n:4)")["phase"] == "Succeeded"
    assert named(status, "ingest")["phase"] == "Succeeded"


async def test_a_false_when_spares_a_list_that_cannot_be_read(platform: Platform) -> None:
    platform.runner.plays("plan", Script(outputs={"/tmp/shards": "nonsense"}))
    status = await platform.outcome(shards(when="1 == 2"))
    assert named(status, "ingest")["phase"] == "Skipped"


async def test_a_list_that_cannot_be_read_is_an_error(platform: Platform) -> None:
    platform.runner.plays("plan", Script(outputs={"/tmp/shards": '{"a": 1}'}))
    status = await platform.outcome(shards())
    assert named(status, "ingest")["phase"] == "Error"
    assert "could not be parsed as a JSON list" in named(status, "ingest")["message"]
    assert status["phase"] == "Error"  # publish is omitted and inherits what came before it


async def test_any_succeeded_and_all_failed_look_at_the_branches(platform: Platform) -> None:
    platform.runner.plays("each(0:1)", Script(exit_code=1))
    spec = dag(
        {"name": "each", "withItems": [1, 2]},
        {"name": "some", "depends": "each.AnySucceeded"},
        {"name": "none", "depends": "each.AllFailed"},
    )
    status = await platform.outcome(spec)
    assert named(status, "some")["phase"] == "Succeeded"
    assert named(status, "none")["phase"] == "Omitted"


@pytest.mark.parametrize("level", ["workflow", "template"])
async def test_parallelism_bounds_the_pods_that_run_at_once(platform: Platform, level: str) -> None:
    spec = dag({"name": "each", "withItems": list(range(7))})
    holder = spec if level == "workflow" else spec["templates"][0]
    holder["parallelism"] = 2
    hold = asyncio.Event()
    platform.runner.plays("each", Script(hold=hold))
    platform.start()
    await platform.submit(spec)
    await platform.runner.until(lambda: len(platform.runner.running) == 2)
    hold.set()
    status = await platform.end()
    assert status["progress"] == "7/7"
    assert platform.runner.most_running == 2


async def test_a_dag_within_a_dag_passes_outputs_up(platform: Platform) -> None:
    inner = {
        "name": "inner",
        "inputs": {"parameters": [{"name": "in"}]},
        "dag": {"tasks": [{"name": "make", "template": "make"}]},
        "outputs": {
            "parameters": [
                {
                    "name": "out",
                    "valueFrom": {"parameter": "{{tasks.make.outputs.parameters.x}}"},
                }
            ]
        },
    }
    spec = dag(
        {
            "name": "outer",
            "template": "inner",
            "arguments": {"parameters": [{"name": "in", "value": "{{workflow.name}}"}]},
        },
        {
            "name": "use",
            "template": "use",
            "depends": "outer",
            "arguments": {
                "parameters": [{"name": "v", "value": "{{tasks.outer.outputs.parameters.out}}"}]
            },
        },
        templates=(inner, writes("make", "x"), step("use", inputs={"parameters": [{"name": "v"}]})),
    )
    platform.runner.plays("outer.make", Script(outputs={"/tmp/x": "deep"}))
    status = await platform.outcome(spec)
    assert named(status, "use")["inputs"]["parameters"] == [{"name": "v", "value": "deep"}]
    assert named(status, "outer")["outputs"] == {"parameters": [{"name": "out", "value": "deep"}]}
    assert named(status, "make")["name"] == "wf.outer.make"
    assert named(status, "make")["children"] == [named(status, "use")["id"]]


async def test_named_targets_decide_the_phase_though_others_depend_on_them(
    platform: Platform,
) -> None:
    platform.runner.plays("a", Script(exit_code=1))
    spec = dag({"name": "a"}, {"name": "b", "depends": "a.Failed"}, {"name": "c"})
    spec["templates"][0]["dag"]["target"] = "a b"
    status = await platform.outcome(spec)
    assert phases(status) == {"wf": "Failed", "a": "Failed", "b": "Succeeded"}


async def test_a_single_container_may_be_the_entry_point(platform: Platform) -> None:
    status = await platform.outcome({"entrypoint": "step", "templates": [step()]})
    assert status["nodes"]["wf"]["type"] == "Pod"
    assert platform.runner.pods["wf"]["metadata"]["name"] == "wf"


async def test_a_task_may_refer_to_a_template_of_another_object(platform: Platform) -> None:
    await platform.cluster.create(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTemplate",
            "metadata": {"name": "shared", "namespace": "default"},
            "spec": {
                "templates": [
                    {"name": "both", "dag": {"tasks": [{"name": "x", "template": "leaf"}]}},
                    step("leaf"),
                ]
            },
        }
    )
    status = await platform.outcome(
        dag({"name": "a", "templateRef": {"name": "shared", "template": "both"}})
    )
    assert named(status, "a")["templateRef"] == {"name": "shared", "template": "both"}
    assert named(status, "x")["templateScope"] == "namespaced/shared"
    assert set(status["storedTemplates"]) == {"namespaced/shared/both", "namespaced/shared/leaf"}
