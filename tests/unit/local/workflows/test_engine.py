"""The engine around the core: restarts, deadlines, shutdown, exit handlers, mutexes, clean-up."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from nexus_local.workflows.locks import LockTable, Turn
from nexus_operator.cluster.errors import Unavailable
from nexus_operator.cluster.protocol import Ref

from .conftest import (
    START,
    Platform,
    Script,
    dag,
    later,
    named,
    phases,
    step,
    workflow,
    writes,
)


async def test_a_restart_repeats_only_what_was_running(platform: Platform) -> None:
    hold = asyncio.Event()
    platform.runner.plays("a", Script(outputs={"/tmp/x": "kept"}))
    platform.runner.plays("b", Script(hold=hold))
    spec = dag(
        {"name": "a", "template": "make"},
        {"name": "b", "depends": "a"},
        {
            "name": "c",
            "depends": "b",
            "template": "use",
            "arguments": {
                "parameters": [{"name": "v", "value": "{{tasks.a.outputs.parameters.x}}"}]
            },
        },
        templates=(
            step(),
            writes("make", "x"),
            step("use", inputs={"parameters": [{"name": "v"}]}),
        ),
    )
    platform.start()
    await platform.submit(spec)
    await platform.runner.until(lambda: "wf.b" in platform.runner.running)
    await platform.crash()
    assert platform.found()["status"]["phase"] == "Running"
    hold.set()
    platform.start()
    status = await platform.end()
    assert platform.runner.started == ["wf.a", "wf.b", "wf.b", "wf.c"]
    assert status["phase"] == "Succeeded"
    assert named(status, "c")["inputs"]["parameters"] == [{"name": "v", "value": "kept"}]
    await platform.shut()
    assert list(platform.scratch.iterdir()) == []


async def test_a_template_changed_in_mid_run_changes_nothing(platform: Platform) -> None:
    template = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "shared", "namespace": "default"},
        "spec": dag({"name": "a"}, {"name": "b", "depends": "a"}),
    }
    await platform.cluster.create(template)
    hold = asyncio.Event()
    platform.runner.plays("a", Script(hold=hold))
    platform.start()
    await platform.submit({"workflowTemplateRef": {"name": "shared"}})
    await platform.runner.until(lambda: "wf.a" in platform.runner.running)
    await platform.crash()
    await platform.cluster.delete(
        Ref("argoproj.io/v1alpha1", "WorkflowTemplate", "default", "shared")
    )
    hold.set()
    platform.start()
    assert phases(await platform.end()) == {"wf": "Succeeded", "a": "Succeeded", "b": "Succeeded"}


async def test_stopping_the_engine_ends_the_pods_and_leaves_the_workflow(
    platform: Platform,
) -> None:
    platform.runner.plays("a", Script(hold=asyncio.Event()))
    platform.start()
    await platform.submit(dag({"name": "a"}))
    await platform.runner.until(lambda: "wf.a" in platform.runner.running)
    await platform.shut()
    assert platform.runner.cancelled == ["wf.a"]
    assert named(platform.found()["status"], "a")["phase"] == "Running"


async def test_a_finished_workflow_is_not_run_again(platform: Platform) -> None:
    await platform.outcome(dag({"name": "a"}))
    await platform.shut()
    writes_before = len(platform.cluster.patches)
    platform.start()
    await platform.outcome(dag({"name": "b"}), name="other")
    assert platform.runner.started == ["wf.a", "other.b"]
    assert not any("wf" in str(patch) for patch in platform.cluster.patches[writes_before:])


async def test_a_cluster_that_does_not_answer_is_tried_again(platform: Platform) -> None:
    platform.cluster.fail_next = [Unavailable("busy"), Unavailable("busy")]
    status = await platform.outcome(dag({"name": "a"}))
    assert status["phase"] == "Succeeded"


async def test_each_write_holds_only_what_changed(platform: Platform) -> None:
    await platform.outcome(dag({"name": "a"}, {"name": "b", "depends": "a"}))
    nodes = [
        set(patch.get("status", {}).get("nodes", {})) for patch in platform.cluster.patches[1:]
    ]
    assert all(len(changed) <= 3 for changed in nodes)
    assert len(platform.cluster.patches) == 4  # started, a created, b created, ended
    assert platform.found()["metadata"]["labels"] == {
        "workflows.argoproj.io/completed": "true",
        "workflows.argoproj.io/phase": "Succeeded",
    }


async def test_the_deadline_stops_what_runs_and_what_is_to_come(platform: Platform) -> None:
    moments = [START]
    platform.clock = lambda: moments[-1]
    platform.runner.plays("a", Script(hold=asyncio.Event()))
    platform.start()
    await platform.submit(
        dag({"name": "a"}, {"name": "b", "depends": "a.Failed"}, activeDeadlineSeconds=60)
    )
    await platform.runner.until(lambda: "wf.a" in platform.runner.running)
    moments.append(later(61))
    ref = Ref("argoproj.io/v1alpha1", "Workflow", "default", "wf")
    await platform.cluster.patch(ref, {"spec": {"priority": 1}})  # makes the engine look
    status = await platform.end()
    assert platform.runner.cancelled == ["wf.a"]
    assert named(status, "a")["message"] == "Step exceeded its deadline"
    assert named(status, "b")["phase"] == "Failed"
    assert platform.runner.started == ["wf.a"]
    assert status["phase"] == "Failed"


async def test_a_pod_is_given_the_nearest_deadline(platform: Platform) -> None:
    spec = dag(
        {"name": "a"},
        {"name": "b", "template": "short"},
        templates=(step(), step("short", activeDeadlineSeconds="5")),
        activeDeadlineSeconds=1000,
    )
    platform.runner.plays("b", Script(exit_code=None, reason="DeadlineExceeded"))
    status = await platform.outcome(spec)
    seconds = {
        name: pod["spec"]["activeDeadlineSeconds"] for name, pod in platform.runner.pods.items()
    }
    assert 900 < seconds["wf.a"] <= 1000
    assert seconds["wf.b"] == 5
    assert named(status, "b")["phase"] == "Failed"
    assert "longer than the specified deadline" in named(status, "b")["message"]


async def shut_down(platform: Platform, how: str, **more: Any) -> dict[str, Any]:
    platform.runner.plays("a", Script(hold=asyncio.Event()))
    platform.start()
    await platform.submit(
        dag({"name": "a"}, templates=(step(retryStrategy={"limit": 5}),), onExit="step", **more)
    )
    await platform.runner.until(lambda: "wf.a(0)" in platform.runner.running)
    ref = Ref("argoproj.io/v1alpha1", "Workflow", "default", "wf")
    await platform.cluster.patch(ref, {"spec": {"shutdown": how}})
    return await platform.end()


async def test_stop_runs_the_exit_handler(platform: Platform) -> None:
    status = await shut_down(platform, "Stop")
    assert named(status, "a(0)")["message"] == "workflow shutdown with strategy:  Stop"
    assert named(status, "a")["phase"] == "Failed"
    assert named(status, "wf.onExit")["phase"] == "Succeeded"
    assert status["phase"] == "Failed"
    assert status["message"] == "Stopped with strategy 'Stop'"


async def test_terminate_runs_nothing_more(platform: Platform) -> None:
    status = await shut_down(platform, "Terminate")
    assert "wf.onExit" not in phases(status)
    assert platform.runner.started == ["wf.a(0)"]
    assert status["phase"] == "Failed"


async def test_a_suspended_workflow_starts_nothing_until_it_is_resumed(
    platform: Platform,
) -> None:
    platform.start()
    await platform.submit(dag({"name": "a"}, suspend=True))
    await platform.cluster.until(
        lambda: platform.found().get("status", {}).get("phase") is not None
    )
    await platform.outcome(dag({"name": "b"}), name="other")
    assert platform.runner.started == ["other.b"]
    ref = Ref("argoproj.io/v1alpha1", "Workflow", "default", "wf")
    await platform.cluster.patch(ref, {"spec": {"suspend": None}})
    assert (await platform.end())["phase"] == "Succeeded"


async def test_the_exit_handler_learns_how_it_went(platform: Platform) -> None:
    handler = step("bye")
    handler["container"]["args"] = ["{{workflow.status}}", "{{workflow.failures}}"]
    platform.runner.plays("a", Script(exit_code=1))
    status = await platform.outcome(dag({"name": "a"}, templates=(step(), handler), onExit="bye"))
    args = platform.runner.pods["wf.onExit"]["spec"]["containers"][0]["args"]
    assert args[0] == "Failed"
    assert '\\"displayName\\":\\"a\\"' in args[1]
    assert named(status, "wf.onExit")["nodeFlag"] == {"hooked": True}
    assert status["phase"] == "Failed"


async def test_a_failing_exit_handler_fails_the_workflow(platform: Platform) -> None:
    platform.runner.plays("onExit", Script(exit_code=1))
    status = await platform.outcome(dag({"name": "a"}, onExit="step"))
    assert status["nodes"]["wf"]["phase"] == "Succeeded"
    assert status["phase"] == "Failed"
    assert status["message"] == "main: Error (exit code 1)"


def locked(name: str = "index.{{workflow.parameters.i}}", value: str = "x") -> dict[str, Any]:
    return dag(
        {"name": "a"},
        synchronization={"mutexes": [{"name": name}]},
        arguments={"parameters": [{"name": "i", "value": value}]},
    )


async def test_a_mutex_lets_one_workflow_run_at_a_time(platform: Platform) -> None:
    hold = asyncio.Event()
    platform.runner.plays("a", Script(hold=hold))
    platform.start()
    await platform.submit(locked(), "first")
    await platform.runner.until(lambda: "first.a" in platform.runner.running)
    await platform.submit(locked(), "second")
    await platform.submit(locked(value="y"), "free")
    await platform.runner.until(lambda: "free.a" in platform.runner.running)
    await platform.cluster.until(
        lambda: platform.found("second").get("status", {}).get("phase") == "Pending"
    )
    assert platform.found("second")["status"]["message"] == (
        "Waiting for default/Mutex/index.x lock. Lock status: 0/1"
    )
    hold.set()
    assert (await platform.end("second"))["message"] == ""
    assert platform.runner.started == ["first.a", "free.a", "second.a"]


async def test_a_mutex_is_still_held_after_a_restart(platform: Platform) -> None:
    hold = asyncio.Event()
    platform.runner.plays("a", Script(hold=hold))
    await platform.submit(locked(), "waits", creationTimestamp="2020-01-01T00:00:00Z")
    waiting = platform.cluster.objects.pop(
        Ref("argoproj.io/v1alpha1", "Workflow", "default", "waits")
    )
    platform.start()
    await platform.submit(locked(), "runs")
    await platform.runner.until(lambda: "runs.a" in platform.runner.running)
    await platform.crash()
    await platform.cluster.create(waiting)
    platform.cluster.objects = dict(reversed(platform.cluster.objects.items()))
    platform.start()
    await platform.cluster.until(
        lambda: platform.found("waits").get("status", {}).get("phase") == "Pending"
    )
    await platform.runner.until(lambda: platform.runner.started.count("runs.a") == 2)
    hold.set()
    await platform.end("waits")
    assert platform.runner.started == ["runs.a", "runs.a", "waits.a"]


def test_locks_go_to_the_higher_priority_then_to_the_older() -> None:
    table = LockTable()
    old, young, vip = Turn(0, "1", "old"), Turn(0, "2", "young"), Turn(-5, "3", "vip")
    assert table.acquire(young, ["m"]) == ""
    assert table.acquire(old, ["m", "n"]) == "m"
    assert table.acquire(vip, ["m"]) == "m"
    table.release("young")
    assert table.acquire(old, ["m", "n"]) == "m"
    assert table.acquire(vip, ["m"]) == ""
    table.release("vip")
    assert table.acquire(old, ["m", "n"]) == ""
    assert table.holders == {"m": "old", "n": "old"}


async def test_a_deleted_workflow_ends_its_pods(platform: Platform) -> None:
    platform.runner.plays("a", Script(hold=asyncio.Event()))
    platform.start()
    await platform.submit(locked())
    await platform.runner.until(lambda: "wf.a" in platform.runner.running)
    await platform.cluster.delete(Ref("argoproj.io/v1alpha1", "Workflow", "default", "wf"))
    await platform.runner.until(lambda: platform.runner.cancelled == ["wf.a"])
    platform.runner.plays("a", Script())
    status = await platform.outcome(locked())
    assert status["phase"] == "Succeeded"


@pytest.mark.parametrize(
    "strategy",
    [{"secondsAfterCompletion": 0}, {"secondsAfterSuccess": 0, "secondsAfterFailure": 99}],
)
async def test_a_finished_workflow_goes_when_its_time_to_live_is_over(
    platform: Platform, strategy: dict[str, int]
) -> None:
    platform.start()
    await platform.submit(dag({"name": "a"}, ttlStrategy=strategy))
    await platform.cluster.until(lambda: not platform.cluster.objects)
    assert platform.runner.started == ["wf.a"]


@pytest.mark.parametrize(
    "odd",
    [
        {"spec": None},
        {"spec": "a text"},
        {"spec": dag({"name": "a"}, ttlStrategy={"secondsAfterCompletion": "soon"})},
        {"spec": dag({"name": "a"}, ttlStrategy={"secondsAfterCompletion": 10**15})},
        {"spec": dag({"name": "a"}, ttlStrategy="never")},
        {"spec": dag({"name": "a"}), "status": "a text"},
        {"spec": dag({"name": "a"}), "status": {"finishedAt": "yesterday", "phase": "Failed"}},
    ],
    ids=lambda odd: str(odd.get("status") or odd["spec"])[-60:],
)
async def test_a_workflow_that_makes_no_sense_stops_no_other(
    platform: Platform, odd: dict[str, Any]
) -> None:
    await platform.cluster.create(workflow({}, "odd") | odd)
    status = await platform.outcome(dag({"name": "a"}))
    assert status["phase"] == "Succeeded"
    await platform.crash()
    platform.start()
    assert (await platform.outcome(dag({"name": "a"}), "again"))["phase"] == "Succeeded"


@pytest.mark.parametrize("seconds", ["soon", "{{x}}", 10**15, 1.5, True])
async def test_a_time_to_live_that_is_no_number_is_refused(
    platform: Platform, seconds: object
) -> None:
    spec = dag({"name": "a"}, ttlStrategy={"secondsAfterFailure": seconds})
    status = await platform.outcome(spec)
    assert status["phase"] == "Failed"
    assert "spec.ttlStrategy.secondsAfterFailure" in status["message"]
    assert platform.runner.started == []


async def test_a_runner_that_fails_is_an_error_of_the_node(platform: Platform) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such thing")

    platform.runner.run_once = broken  # type: ignore[method-assign, assignment]
    status = await platform.outcome(dag({"name": "a"}))
    assert named(status, "a")["phase"] == "Error"
    assert "RunnerFailed: no such thing" in named(status, "a")["message"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("x" * (256 * 1024 + 1), "longer than 256 KiB"), ("\udcff", "not UTF-8")],
)
async def test_an_output_that_a_cluster_would_not_take_is_an_error(
    platform: Platform, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.runner.plays("a", Script(outputs={"/tmp/x": text}))
    platform.runner.encoding_errors = "surrogateescape"
    status = await platform.outcome(
        dag({"name": "a", "template": "m"}, templates=(writes("m", "x"),))
    )
    assert message in named(status, "a")["message"]
    assert status["phase"] == "Error"


async def test_times_are_those_of_the_clock(platform: Platform) -> None:
    platform.clock = lambda: datetime(2030, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    status = await platform.outcome(dag({"name": "a"}))
    assert status["startedAt"] == status["finishedAt"] == "2030-01-02T03:04:05Z"
