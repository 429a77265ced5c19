"""What is refused before anything runs, and how it is said."""

import copy
from typing import Any

import pytest

from nexus_local.workflows.fields import SPEC, Mark

from .conftest import Platform, Script, dag, step, writes

GOOD: dict[str, Any] = dag(
    {"name": "a", "template": "make"},
    {
        "name": "b",
        "template": "use",
        "depends": "a",
        "withItems": [1],
        "arguments": {
            "parameters": [{"name": "v", "value": "{{item}}{{tasks.a.outputs.parameters.x}}"}]
        },
    },
    templates=(
        writes("make", "x"),
        step("use", inputs={"parameters": [{"name": "v"}]}, retryStrategy={"limit": 1}),
    ),
    arguments={"parameters": [{"name": "p", "value": "1"}]},
)


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value put at a dotted path below spec."""
    spec = copy.deepcopy(GOOD)
    place: Any = spec
    *parents, last = path.split(".")
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return spec


UNSUPPORTED = {
    "templates.1.script": {"image": "x", "source": "y"},
    "templates.1.steps": [],
    "templates.1.resource": {},
    "templates.1.suspend": {},
    "templates.1.http": {},
    "templates.1.containerSet": {},
    "templates.1.daemon": True,
    "templates.1.failFast": True,
    "templates.1.memoize": {},
    "templates.1.timeout": "5m",
    "templates.1.sidecars": [],
    "templates.1.initContainers": [],
    "templates.1.synchronization": {},
    "templates.1.annotations": {},
    "templates.1.inputs.artifacts": [],
    "templates.1.outputs.artifacts": [],
    "templates.1.outputs.parameters.0.globalName": "g",
    "templates.1.outputs.parameters.0.valueFrom.expression": "1",
    "templates.1.outputs.parameters.0.valueFrom.jsonPath": "{.a}",
    "templates.1.container.lifecycle": {},
    "templates.1.container.livenessProbe": {},
    "templates.1.container.workingDir": "/x",
    "templates.1.container.env": [{"name": "A", "valueFrom": {"resourceFieldRef": {}}}],
    "templates.1.volumes": [{"name": "v", "hostPath": {"path": "/"}}],
    "templates.0.dag.tasks.0.inline": {},
    "templates.0.dag.tasks.0.hooks": {},
    "templates.0.dag.tasks.0.onExit": "x",
    "templates.0.dag.tasks.0.continueOn": {"failed": True},
    "templates.0.dag.tasks.0.withSequence": {"count": 3},
    "templates.0.dag.tasks.1.arguments.artifacts": [],
    "templates.2.inputs.parameters.0.valueFrom": {"configMapKeyRef": {}},
    "arguments.artifacts": [],
    "hooks": {},
    "hostNetwork": True,
    "hostAliases": [],
    "volumeClaimTemplates": [],
    "templateDefaults": {},
    "artifactRepositoryRef": {},
    "workflowMetadata": {},
    "synchronization.semaphores": [],
    "tempaltes": [],
}


@pytest.mark.parametrize("path", sorted(UNSUPPORTED))
async def test_what_the_engine_does_not_interpret_is_refused_by_its_path(
    platform: Platform, path: str
) -> None:
    status = await platform.outcome(changed(path, UNSUPPORTED[path]))
    assert status["phase"] == "Error"
    assert status["nodes"] == {}
    assert platform.runner.started == []
    shown = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("."))
    assert f"spec{shown}" in status["message"]
    assert "is not supported on the laptop" in status["message"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("templates.0.dag.tasks.0.template", "none", "template 'none': is not among"),
        ("entrypoint", "none", "spec.entrypoint: template 'none'"),
        ("entrypoint", "", "spec.entrypoint: is required"),
        ("onExit", "none", "spec.onExit: template 'none'"),
        ("templates.0.dag.tasks.0.depends", "b", "dependency cycle: a -> b -> a"),
        ("templates.0.dag.tasks.1.depends", "z", "there is no task z"),
        ("templates.0.dag.tasks.1.depends", "a.Fine", "asks for a.Fine"),
        ("templates.0.dag.tasks.1.depends", "a.AllFailed", "a, which has no items"),
        ("templates.0.dag.tasks.1.depends", "a &&", "ends too early"),
        ("templates.0.dag.tasks.1.name", "a", "must have names of their own"),
        ("templates.0.dag.tasks.1.name", "b_c", "must be letters, digits and -"),
        ("templates.0.dag.tasks.1.dependencies", ["a"], "both depends and dependencies"),
        ("templates.0.dag.tasks.1.withParam", "[]", "both withItems and withParam"),
        ("templates.0.dag.tasks.1.arguments", {}, "inputs.parameters.v is not supplied"),
        ("templates.0.dag.tasks", [], "must have at least one task"),
        ("templates.0.dag.tasks.0", 3, "must be a map, not int"),
        ("templates.0.dag.tasks", {}, "must be a list, not dict"),
        ("templates.0.dag.target", "a z", "there is no task z"),
        ("templates.0.container", {"image": "x"}, "exactly one of container and dag"),
        ("templates.0.parallelism", 0, "must be a whole number above 0"),
        ("templates.1.container.image", "", "container.image: is required"),
        ("templates.1.outputs.parameters.0.valueFrom", {}, "valueFrom.path: is required"),
        ("templates.2.retryStrategy.limit", "many", "must be a whole number"),
        ("templates.2.retryStrategy.retryPolicy", "Maybe", "must be one of Always"),
        ("templates.2.retryStrategy.backoff", {"factor": 2}, "backoff.duration: is required"),
        ("templates.2.retryStrategy.backoff", {"duration": "1 day"}, "is not a duration"),
        ("arguments.parameters.0.value", None, "p has no value"),
        ("activeDeadlineSeconds", "60", "spec.activeDeadlineSeconds: must be a whole number"),
        ("templates.1.activeDeadlineSeconds", "soon", "must be a whole number above 0"),
        ("shutdown", "Now", "must be Terminate or Stop"),
        ("templates.2.container.args", ["{{inputs.parameters.w}}"], "{{inputs.parameters.w}}"),
        ("templates.2.container.args", ["{{workflow.parameters.q}}"], "{{workflow.parameters.q}}"),
        ("templates.2.container.args", ["{{item}}"], "failed to resolve {{item}}"),
        ("templates.1.container.args", ["{{retries}}"], "failed to resolve {{retries}}"),
        ("templates.0.dag.tasks.0.when", "{{tasks.b.status}} == x", "{{tasks.b.status}}"),
        ("templates.0.dag.tasks.1.when", "{{tasks.a.outputs.parameters.y}} > 0", "parameters.y"),
    ],
)
async def test_what_argo_refuses_too_is_an_invalid_spec(
    platform: Platform, path: str, value: Any, message: str
) -> None:
    status = await platform.outcome(changed(path, value))
    assert status["phase"] == "Failed"
    assert status["message"].startswith("invalid spec: ")
    assert message in status["message"]
    assert platform.runner.started == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("templates.2.container.args", ["{{=1+1}}"], "it uses {{=1+1}}"),
        ("templates.0.dag.tasks.1.when", "{{tasks.a.outputs.result}} == 1", "outputs.result"),
        ("templates.0.dag.tasks.1.when", "1 + 1 == 2", "cannot be read at '+ 1 == 2'"),
        ("templates.2.retryStrategy.expression", "sprig.x(retries)", "calls sprig.x()"),
        ("templates.2.retryStrategy.expression", "lastRetry.code == 1", "names lastRetry.code"),
        ("templates.1.container.command", None, "a container without a command"),
    ],
)
async def test_what_only_the_engine_cannot_do_is_an_error(
    platform: Platform, path: str, value: Any, message: str
) -> None:
    status = await platform.outcome(changed(path, value))
    assert status["phase"] == "Error"
    assert message in status["message"]
    assert platform.runner.started == []


async def test_a_template_that_calls_itself_is_refused(platform: Platform) -> None:
    status = await platform.outcome(dag({"name": "a", "template": "main"}))
    assert status["message"] == (
        "templates.main.tasks.a is not supported on the laptop: templates that call themselves"
    )


async def test_the_good_one_runs(platform: Platform) -> None:
    platform.runner.plays("a", Script(outputs={"/tmp/x": "1"}))
    assert (await platform.outcome(GOOD))["phase"] == "Succeeded"


async def test_inert_keys_are_accepted(platform: Platform) -> None:
    inert: dict[str, Any] = {
        key: {"any": "thing"} for key, mark in SPEC.items() if mark is Mark.INERT
    }
    assert {"podGC", "serviceAccountName", "securityContext"} <= inert.keys()
    spec = dag({"name": "a"}, **inert)
    spec["podSpecPatch"] = '{"enableServiceLinks": false, "containers": [{"name": "main"}]}'
    assert (await platform.outcome(spec))["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ('{"containers": [{"env": []}]}', "spec.podSpecPatch.containers[0].env is not supported"),
        ("hostNetwork: true", "spec.podSpecPatch.hostNetwork is not supported"),
        ("{", "spec.podSpecPatch: is not YAML"),
    ],
)
async def test_a_pod_patch_that_would_change_what_a_pod_does_is_refused(
    platform: Platform, patch: str, message: str
) -> None:
    status = await platform.outcome(dag({"name": "a"}, podSpecPatch=patch))
    assert message in status["message"]
    assert platform.runner.started == []


async def test_a_missing_workflow_template_is_named(platform: Platform) -> None:
    status = await platform.outcome({"workflowTemplateRef": {"name": "nexus-sync"}})
    assert status["phase"] == "Error"
    assert status["message"] == 'WorkflowTemplate "nexus-sync" not found in namespace default'


async def test_a_problem_in_a_workflow_template_names_the_template(platform: Platform) -> None:
    await platform.cluster.create(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "ClusterWorkflowTemplate",
            "metadata": {"name": "shared"},
            "spec": changed("templates.1.script", {}),
        }
    )
    ref = {"workflowTemplateRef": {"name": "shared", "clusterScope": True}}
    status = await platform.outcome(ref)
    assert status["message"].startswith("ClusterWorkflowTemplate shared: spec.templates[1].script")


async def test_many_problems_are_told_at_once_but_not_endlessly(platform: Platform) -> None:
    unknown: dict[str, Any] = {f"unknown{number}": 1 for number in range(8)}
    spec = dag({"name": "a"}, **unknown)
    status = await platform.outcome(spec)
    assert "spec.unknown0 is not supported" in status["message"]
    assert status["message"].endswith("(and 3 more)")


@pytest.mark.parametrize("limited", ["workflow", "template"])
@pytest.mark.parametrize("nested", [False, True])
async def test_an_exit_handler_that_would_crash_argo_is_refused_by_name(
    platform: Platform, limited: str, *, nested: bool
) -> None:
    handler: dict[str, Any] = {
        "name": "bye",
        "dag": {"tasks": [{"name": "x", "template": "step"}, {"name": "y", "template": "step"}]},
    }
    outer: dict[str, Any] = {
        "name": "outer",
        "dag": {"tasks": [{"name": "in", "template": "bye"}]},
    }
    on_exit = "outer" if nested else "bye"
    spec = dag({"name": "a"}, templates=(step(), handler, outer), onExit=on_exit)
    if limited == "workflow":
        spec["parallelism"] = 1
        path = "spec.parallelism"
    else:
        handler["parallelism"] = 2
        path = "templates.bye.parallelism"
    status = await platform.outcome(spec)
    assert status["phase"] == "Error"
    assert path in status["message"]
    assert "Argo 3.7 crashes on the DAG templates.bye" in status["message"]
    assert platform.runner.started == []


async def test_the_same_dag_may_be_limited_where_it_is_no_exit_handler(
    platform: Platform,
) -> None:
    spec = dag({"name": "a"}, templates=(step(),), onExit="step", parallelism=1)
    assert (await platform.outcome(spec))["phase"] == "Succeeded"
