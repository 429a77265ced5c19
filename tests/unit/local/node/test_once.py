"""Pods of workflow steps: run once, with files for their outputs."""

import asyncio
from pathlib import Path
from typing import Any

import psutil

from nexus_operator.cluster.protocol import Ref

from .conftest import Site, container_state, eventually, pod, ref


def step(*args: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": "main",
        "image": "ghcr.io/x/pipelines:1",
        "command": ["step"],
        "args": list(args),
        **fields,
    }


async def test_step_writes_its_output_where_the_engine_reads_it(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out" / "count"
    out.parent.mkdir()
    wanted = pod("run-1", step("say", "working", "write", "/tmp/outputs/count", "7"))
    result = await site.node.run_once(wanted, env_paths={"/tmp/outputs/count": out})
    assert (result.exit_code, result.reason, result.message) == (0, "Completed", "")
    assert out.read_text() == "7"
    assert result.log_path is not None
    assert result.log_path.read_text() == "working\n"
    seen = await site.cluster.get(ref(wanted))
    assert seen is not None
    assert seen["status"]["phase"] == "Succeeded"
    assert site.node.memory() == []


async def test_failed_step_is_not_started_again(site: Site) -> None:
    result = await site.node.run_once(pod("run-1", step("exit", "75")), env_paths={})
    assert (result.exit_code, result.reason) == (75, "Error")
    seen = await site.cluster.get(Ref("v1", "Pod", "default", "run-1"))
    assert seen is not None
    assert seen["status"]["phase"] == "Failed"
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_failed_steps_last_words_are_its_message(site: Site) -> None:
    told = step("say", "the disk is full", "exit", "1")
    wanted = pod("run-1", told | {"terminationMessagePolicy": "FallbackToLogsOnError"})
    result = await site.node.run_once(wanted, env_paths={})
    assert (result.exit_code, result.message) == (1, "the disk is full")
    silent = await site.node.run_once(pod("run-2", told), env_paths={})
    assert silent.message == ""


async def test_step_that_cannot_start_is_a_result(site: Site) -> None:
    unknown = pod("run-1", step() | {"command": ["/bin/sh"]})
    result = await site.node.run_once(unknown, env_paths={})
    assert (result.exit_code, result.reason) == (None, "ErrImageNeverPull")
    assert "/bin/sh" in result.message
    bad_name = pod("Run_1", step())
    result = await site.node.run_once(bad_name, env_paths={})
    assert (result.exit_code, result.reason) == (None, "CreateContainerConfigError")


async def test_deadline_of_a_step(site: Site) -> None:
    wanted = pod("run-1", step("sleep"), activeDeadlineSeconds=1)
    result = await site.node.run_once(wanted, env_paths={})
    assert result.reason == "DeadlineExceeded"
    assert site.node.memory() == []


async def test_cancelled_step_is_stopped_first(site: Site, tmp_path: Path) -> None:
    wanted = pod("run-1", step("pid", str(tmp_path / "pid"), "sleep"))
    run = asyncio.create_task(site.node.run_once(wanted, env_paths={}))
    await eventually(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    pid = int((tmp_path / "pid").read_text())
    run.cancel()
    (ended,) = await asyncio.gather(run, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    assert not psutil.pid_exists(pid)
    seen = await site.cluster.get(ref(wanted))
    assert seen is not None
    assert container_state(seen)["terminated"]["exitCode"] == 143


async def test_same_step_again_replaces_what_is_left_of_the_first(site: Site) -> None:
    first = await site.node.run_once(pod("run-1", step("say", "one")), env_paths={})
    second = await site.node.run_once(pod("run-1", step("say", "two")), env_paths={})
    assert first.log_path == second.log_path
    assert second.log_path is not None
    assert second.log_path.read_text() == "two\n"


async def test_burst_of_steps(site: Site) -> None:
    wanted = [pod(f"run-{number}", step("say", str(number))) for number in range(12)]
    results = await asyncio.gather(*(site.node.run_once(p, env_paths={}) for p in wanted))
    assert [result.exit_code for result in results] == [0] * 12
    texts = [result.log_path.read_text() for result in results if result.log_path]
    assert texts == [f"{number}\n" for number in range(12)]
