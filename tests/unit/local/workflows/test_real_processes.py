"""The engine over real child processes and the real store, and SIGKILL of the whole engine."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watchfiles import awatch

from nexus_local.store.local import LocalCluster
from nexus_local.workflows.engine import WorkflowEngine
from nexus_local.workflows.runner import PodResult
from nexus_operator.cluster.protocol import Ref

from .conftest import dag, named, phases, step, workflow, writes

Manifest = dict[str, Any]


class ProcessRunner:
    """The smallest honest PodRunner: one child process for each pod."""

    def __init__(self, log: Path) -> None:
        self.log = log

    async def run_once(self, pod: Manifest, *, env_paths: Mapping[str, Path]) -> PodResult:
        container = pod["spec"]["containers"][0]
        argv = [*container["command"], *container["args"]]
        for path, here in env_paths.items():
            argv = [argument.replace(path, str(here)) for argument in argv]
        child = await asyncio.create_subprocess_exec(*argv, env={"LOG": str(self.log)})
        try:
            seconds = pod["spec"].get("activeDeadlineSeconds")
            code = await asyncio.wait_for(child.wait(), seconds)
        except TimeoutError:
            child.kill()
            await child.wait()
            return PodResult(None, "DeadlineExceeded")
        except asyncio.CancelledError:
            child.terminate()
            await child.wait()
            raise
        if code < 0:
            return PodResult(128 - code, "Error")
        return PodResult(code, "Completed" if code == 0 else "Error")


def python(name: str, code: str, *arguments: str, **more: Any) -> Manifest:
    """A template that runs Python; `note` writes a line to the log."""
    note = "import os,sys\ndef note(t):\n  open(os.environ['LOG'],'a').write(t+'\\n')\n"
    made = writes(name, **more) if "outputs" not in more else step(name, **more)
    made["container"] |= {"command": [sys.executable, "-c", note + code], "args": [*arguments]}
    return made


def spec() -> Manifest:
    """plan makes three items; each is squared, failing once at first; sum adds them up."""
    out = {"parameters": [{"name": "x", "valueFrom": {"path": "/tmp/x"}}]}
    put = "open(sys.argv[1],'w').write"
    return dag(
        {"name": "plan", "template": "plan"},
        {
            "name": "work",
            "template": "work",
            "depends": "plan",
            "withParam": "{{tasks.plan.outputs.parameters.x}}",
            "arguments": {"parameters": [{"name": "n", "value": "{{item}}"}]},
        },
        {
            "name": "sum",
            "template": "sum",
            "depends": "work",
            "arguments": {
                "parameters": [{"name": "all", "value": "{{tasks.work.outputs.parameters}}"}]
            },
        },
        templates=(
            python("plan", f"note('plan'); {put}('[1, 2, 3]')", PATH, outputs=out),
            python(
                "work",
                f"note('work '+sys.argv[2]); sys.exit(75) if sys.argv[3]=='0' else "
                f"{put}(str(int(sys.argv[2])**2))",
                PATH,
                "{{inputs.parameters.n}}",
                "{{retries}}",
                outputs=out,
                inputs={"parameters": [{"name": "n"}]},
                retryStrategy={"limit": 2},
            ),
            python(
                "sum",
                "import json; note('sum'); "
                f"{put}(str(sum(int(r['x']) for r in json.loads(sys.argv[2]))))",
                PATH,
                "{{inputs.parameters.all}}",
                outputs=out,
                inputs={"parameters": [{"name": "all"}]},
            ),
        ),
        parallelism=2,
    )


PATH = "{{outputs.parameters.x.path}}"
REF = Ref("argoproj.io/v1alpha1", "Workflow", "default", "wf")


async def finished(cluster: LocalCluster) -> Manifest:
    async with asyncio.timeout(60):
        async for event in cluster.watch("argoproj.io/v1alpha1", "Workflow"):
            status: Manifest = event.object.get("status") or {}
            if status.get("finishedAt"):
                return status
    raise AssertionError("the watch ended")


async def run_to_the_end(folder: Path) -> Manifest:
    """Run an engine over the store in `folder` until the workflow has ended."""
    cluster = LocalCluster(folder / "store.db")
    engine = WorkflowEngine(cluster, ProcessRunner(folder / "log"), scratch=folder / "scratch")
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    if await cluster.get(REF) is None:
        await cluster.create(workflow(spec()))
    try:
        return await finished(cluster)
    finally:
        stop.set()
        await task
        cluster.close()


async def test_real_steps_pass_values_on_fail_and_are_tried_again(tmp_path: Path) -> None:
    status = await run_to_the_end(tmp_path)
    assert status["phase"] == "Succeeded", status
    assert named(status, "sum")["outputs"]["parameters"][0]["value"] == "14"
    assert phases(status)["work(1:2)(0)"] == "Failed"
    assert sorted((tmp_path / "log").read_text(encoding="utf-8").split("\n")) == [
        "",
        "plan",
        "sum",
        *[f"work {n}" for n in (1, 1, 2, 2, 3, 3)],
    ]


CRASHING = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.unit.local.workflows.test_real_processes import run_to_the_end
asyncio.run(run_to_the_end(Path({folder!r})))
"""


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def grown(log: Path, size: int, child: asyncio.subprocess.Process) -> None:
    """Wait until a step of the child has written to the log, or the child has ended."""
    ended = asyncio.create_task(child.wait())
    try:
        async for _ in awatch(
            log.parent, stop_event=asyncio.Event(), rust_timeout=100, yield_on_timeout=True
        ):
            if ended.done() or (size_of(log) > size):
                return
    finally:
        ended.cancel()


async def test_sigkill_at_any_point_costs_at_most_what_was_running(tmp_path: Path) -> None:
    """Kill the engine each time its log has grown; every node ends once, in the same phase."""
    code = CRASHING.format(tests=str(Path(__file__).parents[4]), folder=str(tmp_path))
    log = tmp_path / "log"
    for _ in range(4):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, start_new_session=True
        )
        size = size_of(log)
        try:
            await grown(log, size, child)
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    status = await run_to_the_end(tmp_path)
    assert status["phase"] == "Succeeded"
    assert named(status, "sum")["outputs"]["parameters"][0]["value"] == "14"
    assert phases(status)["work(2:3)(1)"] == "Succeeded"
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 8 + 4 * 2  # eight steps, and at most two more for each kill
