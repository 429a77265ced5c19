"""A small cluster in memory, a runner that plays a script, and an engine over both."""

import asyncio
import copy
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nexus_local.workflows.engine import WorkflowEngine
from nexus_local.workflows.runner import PodResult
from nexus_operator.cluster.errors import AlreadyExists, Conflict, NotFound, Unavailable
from nexus_operator.cluster.protocol import FIELD_MANAGER, Ref, WatchEvent

Manifest = dict[str, Any]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


class MemoryCluster:
    """Workflows and templates in memory; every write is seen by watchers in order."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Manifest] = {}
        self.watchers: list[asyncio.Queue[WatchEvent]] = []
        self.changed = asyncio.Event()
        self.numbers = itertools.count(1)
        self.patches: list[Manifest] = []
        self.fail_next: list[Exception] = []

    def _emit(self, kind: Any, manifest: Manifest) -> None:
        for queue in self.watchers:
            queue.put_nowait(WatchEvent(kind, copy.deepcopy(manifest)))
        self.changed.set()

    async def get(self, ref: Ref) -> Manifest | None:
        return copy.deepcopy(self.objects.get(ref))

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        return [copy.deepcopy(m) for ref, m in self.objects.items() if ref.kind == kind]

    async def create(self, manifest: Manifest) -> Manifest:
        manifest = copy.deepcopy(manifest)
        metadata = manifest["metadata"]
        ref = Ref(
            manifest["apiVersion"],
            manifest["kind"],
            metadata.setdefault("namespace", ""),
            metadata["name"],
        )
        if ref in self.objects:
            raise AlreadyExists(str(ref))
        number = next(self.numbers)
        metadata |= {"uid": f"uid-{number}", "resourceVersion": str(number)}
        metadata.setdefault("creationTimestamp", f"2026-01-01T00:00:{number % 60:02d}Z")
        self.objects[ref] = manifest
        self._emit("ADDED", manifest)
        return copy.deepcopy(manifest)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        raise NotImplementedError

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        await asyncio.sleep(0)
        if self.fail_next:
            raise self.fail_next.pop(0)
        if ref not in self.objects:
            raise NotFound(str(ref))
        self.patches.append(copy.deepcopy(patch))
        self.objects[ref] = merge(self.objects[ref], patch)
        self._emit("MODIFIED", self.objects[ref])
        return copy.deepcopy(self.objects[ref])

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        found = self.objects.get(ref)
        if found is not None:
            if uid is not None and found["metadata"]["uid"] != uid:
                raise Conflict(str(ref))
            del self.objects[ref]
            self._emit("DELETED", found)

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        for ref, manifest in self.objects.items():
            if ref.kind == kind:
                queue.put_nowait(WatchEvent("ADDED", copy.deepcopy(manifest)))
        self.watchers.append(queue)
        try:
            while True:
                event = await queue.get()
                if event.object["kind"] == kind:
                    yield event
        finally:
            self.watchers.remove(queue)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Script:
    """What a pod does: how it ends, what it writes, and whether it waits to be let go."""

    exit_code: int | None = 0
    reason: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    """container path -> text"""
    hold: asyncio.Event | None = None
    linger: asyncio.Event | None = None
    """Waited for after the outputs are written."""


class ScriptedRunner:
    """Plays a script for each node; a list gives one entry for each attempt, the last one stays."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Script]] = {}
        self.started: list[str] = []
        self.pods: dict[str, Manifest] = {}
        self.running: set[str] = set()
        self.most_running = 0
        self.cancelled: list[str] = []
        self.ran: dict[str, int] = {}
        self.changed = asyncio.Event()

    encoding_errors = "strict"

    def plays(self, task: str, *scripts: Script) -> None:
        self.scripts[task] = list(scripts)

    async def run_once(self, pod: Manifest, *, env_paths: Mapping[str, Path]) -> PodResult:
        name = pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"]
        self.started.append(name)
        self.pods[name] = pod
        self.running.add(name)
        self.most_running = max(self.most_running, len(self.running))
        self.changed.set()
        try:
            script = self._script(name)
            if script.hold:
                await script.hold.wait()
            await asyncio.sleep(0)
            for path, text in script.outputs.items():
                env_paths[path].write_text(
                    text, encoding="utf-8", errors=self.encoding_errors, newline=""
                )
            if script.linger:
                await script.linger.wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            self.running.discard(name)
            self.changed.set()
        reason = script.reason or ("Completed" if script.exit_code == 0 else "Error")
        return PodResult(script.exit_code, reason)

    def _script(self, name: str) -> Script:
        short = name.partition(".")[2]
        for key in (short, short.partition("(")[0]):
            if key in self.scripts:
                number = self.ran.get(key, 0)
                self.ran[key] = number + 1
                scripts = self.scripts[key]
                return scripts[min(number, len(scripts) - 1)]
        return Script()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


class Platform:
    """An engine over a cluster in memory, with shortcuts for tests."""

    def __init__(self, scratch: Path) -> None:
        self.cluster = MemoryCluster()
        self.runner = ScriptedRunner()
        self.scratch = scratch
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.engine: WorkflowEngine | None = None

    def start(self) -> None:
        self.stop = asyncio.Event()
        self.engine = WorkflowEngine(
            self.cluster, self.runner, scratch=self.scratch, clock=self.clock
        )
        self.task = asyncio.create_task(self.engine.run(self.stop))

    async def shut(self) -> None:
        self.stop.set()
        if self.task:
            await self.task
            self.task = None

    async def crash(self) -> None:
        """End the engine as SIGKILL would: nothing more is written."""
        if self.task:
            refuse = Unavailable("gone")
            self.cluster.fail_next = [refuse] * 1000
            self.task.cancel()
            await asyncio.wait([self.task])
            self.cluster.fail_next = []
            self.task = None

    async def submit(self, spec: Manifest, name: str = "wf", **metadata: Any) -> Manifest:
        return await self.cluster.create(workflow(spec, name, **metadata))

    def found(self, name: str = "wf", kind: str = "Workflow") -> Manifest:
        return self.cluster.objects[Ref("argoproj.io/v1alpha1", kind, "default", name)]

    async def end(self, name: str = "wf") -> Manifest:
        await self.cluster.until(lambda: bool(self.found(name).get("status", {}).get("finishedAt")))
        status: Manifest = self.found(name)["status"]
        return status

    async def outcome(self, spec: Manifest, name: str = "wf") -> Manifest:
        if self.task is None:
            self.start()
        await self.submit(spec, name)
        return await self.end(name)


def workflow(spec: Manifest, name: str = "wf", **metadata: Any) -> Manifest:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": spec,
    }


def step(name: str = "step", **more: Any) -> Manifest:
    """A container template."""
    container = {"image": "nexus-pipelines:1", "command": ["nexus-pipelines"], "args": [name]}
    return {"name": name, "container": container} | more


def writes(name: str, *outputs: str, **more: Any) -> Manifest:
    """A container template with output parameters, written to /tmp/<output>."""
    parameters = [{"name": output, "valueFrom": {"path": f"/tmp/{output}"}} for output in outputs]
    return step(name, outputs={"parameters": parameters}, **more)


def dag(*tasks: Manifest, templates: tuple[Manifest, ...] = (step(),), **more: Any) -> Manifest:
    """A workflow's spec with one DAG; a task without a template runs `step`."""
    filled = [
        task if "template" in task or "templateRef" in task else {**task, "template": "step"}
        for task in tasks
    ]
    return {
        "entrypoint": "main",
        "templates": [{"name": "main", "dag": {"tasks": filled}}, *templates],
        **more,
    }


def phases(status: Manifest) -> dict[str, str]:
    return {node["displayName"]: node["phase"] for node in status["nodes"].values()}


def named(status: Manifest, display_name: str) -> Manifest:
    found = [n for n in status["nodes"].values() if n["displayName"] == display_name]
    assert len(found) == 1, (display_name, sorted(phases(status)))
    node: Manifest = found[0]
    return node


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    made = Platform(tmp_path / "scratch")
    yield made
    await made.shut()
