"""One Workflow from its first sight to its end: the core's decisions carried out."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from nexus_local.workflows import outputs, progress
from nexus_local.workflows.advance import advance
from nexus_local.workflows.errors import Refused, WorkflowError
from nexus_local.workflows.loading import load, stored
from nexus_local.workflows.locks import LockTable, Turn
from nexus_local.workflows.nodes import Phase
from nexus_local.workflows.pods import PodOrder, record
from nexus_local.workflows.program import Program
from nexus_local.workflows.runner import PodResult, PodRunner
from nexus_local.workflows.situation import Situation
from nexus_local.workflows.state import RunState
from nexus_local.workflows.substitution import fill
from nexus_local.workflows.values import workflow_values
from nexus_local.workflows.writing import StatusWriter, steadily
from nexus_operator.cluster.errors import NotFound
from nexus_operator.cluster.protocol import Cluster

log = logging.getLogger(__name__)
PANIC = "the workflow engine failed on this workflow: {}"


@dataclass(frozen=True, slots=True)
class Host:
    """What every run of one engine shares.

    locks_changed: called when locks were freed, so that waiting runs look again.
    """

    cluster: Cluster
    runner: PodRunner
    clock: Callable[[], datetime]
    scratch: Path
    locks: LockTable
    locks_changed: Callable[[], None]


class WorkflowRun:
    """Drives one Workflow; everything that it must remember is in the Workflow's status."""

    def __init__(self, host: Host, workflow: Mapping[str, Any]) -> None:
        metadata = workflow["metadata"]
        self.host = host
        self.workflow = workflow
        self.key = f"{metadata['namespace']}/{metadata['name']}"
        self.uid = str(metadata.get("uid", ""))
        self.writer = StatusWriter(host.cluster, workflow)
        self.scratch = host.scratch / (self.uid or metadata["name"])
        self.awake = asyncio.Event()
        self.pods: dict[str, asyncio.Task[None]] = {}
        self.told: dict[str, str] = {}
        self.ended: list[tuple[PodOrder, PodResult, dict[str, str | None]]] = []

    def notice(self, workflow: Mapping[str, Any]) -> None:
        """Take note that the object has changed; shutdown and suspend are read from it."""
        if workflow["spec"] != self.workflow["spec"]:
            self.awake.set()
        self.workflow = workflow

    def wake(self) -> None:
        """Look again soon."""
        self.awake.set()

    async def drive(self) -> None:
        """Run to the end; cancelling leaves the Workflow as it is, to be resumed later."""
        try:
            await self._drive()
        except NotFound:
            log.info("workflow %s was deleted while it ran", self.key)
        except Exception as error:
            log.exception("workflow %s", self.key)
            state = RunState.from_manifest({**self.workflow, "status": self.writer.status})
            await self._stop(set(self.pods))
            await self._end(state, Phase.ERROR, PANIC.format(error))
        finally:
            await self._stop(set(self.pods))
            outputs.clear(self.scratch)
            self.host.locks.release(self.key)
            self.host.locks_changed()

    async def _drive(self) -> None:
        current = await steadily(partial(self.host.cluster.get, self.writer.ref))
        if current is None or current["metadata"].get("uid", "") != self.uid:
            return
        # What the watch showed may be older than the end of an earlier run of this same object.
        self.workflow, self.writer = current, StatusWriter(self.host.cluster, current)
        state = RunState.from_manifest(current)
        if state.finished:
            return
        fresh = state.started_at is None
        try:
            program = await self._load(fresh=fresh)
        except Refused as error:
            text = f"invalid spec: {error}" if error.invalid else str(error)
            await self._end(state, Phase.FAILED if error.invalid else Phase.ERROR, text)
            return
        except WorkflowError as error:
            await self._end(state, Phase.ERROR, str(error))
            return
        await self._take_locks(program, state)
        if fresh:
            state.phase, state.started_at = Phase.RUNNING, self.host.clock()
            await self._write(state, begun(program, self._locks(program), self.key))
        await self._loop(program, state)

    async def _load(self, *, fresh: bool) -> Program:
        if not fresh:
            return stored(self.workflow)
        return await steadily(partial(load, self.host.cluster, self.workflow))

    def _locks(self, program: Program) -> list[str]:
        wanted = program.spec.get("synchronization") or {}
        mutexes = [*(wanted.get("mutexes") or ()), *filter(None, [wanted.get("mutex")])]
        filled = fill(mutexes, workflow_values(program))
        place = program.namespace
        return [f"{mutex.get('namespace') or place}/Mutex/{mutex['name']}" for mutex in filled]

    async def _take_locks(self, program: Program, state: RunState) -> None:
        locks = self._locks(program)
        if not locks or state.started_at is not None:
            self.host.locks.reclaim(self.key, locks)
            return
        created = str(program.metadata.get("creationTimestamp", ""))
        turn = Turn(-int(program.spec.get("priority") or 0), created, self.key)
        while lock := self.host.locks.acquire(turn, locks):
            if self.workflow["spec"].get("shutdown"):
                return  # the core fails it without running anything
            state.phase = Phase.PENDING
            state.message = f"Waiting for {lock} lock. Lock status: 0/1"
            await self._write(state, {})
            await self._sleep(None)
        state.message = ""

    async def _loop(self, program: Program, state: RunState) -> None:
        while True:
            for node_id, how_far in self.told.items():
                state.nodes[node_id].progress = how_far
            self.told.clear()
            for order, result, files in self.ended:
                finish_node(state, order, result, files, self.host.clock())
            self.ended.clear()
            live = self.workflow["spec"]
            situation = Situation(
                self.host.clock(),
                frozenset(self.pods),
                live.get("shutdown", ""),
                suspended=bool(live.get("suspend")),
            )
            decision = advance(program, state, situation)
            state = decision.state
            await self._stop(decision.stop)
            await self._write(state, {})
            if state.finished:
                return
            for order in decision.start:
                self._start(order)
            await self._sleep(decision.wake_at)

    def _start(self, order: PodOrder) -> None:
        task = asyncio.create_task(self._run_pod(order), name=f"pod {order.node_id}")
        self.pods[order.node_id] = task

    async def _run_pod(self, order: PodOrder) -> None:
        folder = self.scratch / order.node_id
        files: dict[str, str | None] = {}
        try:
            paths = await asyncio.to_thread(outputs.prepare, folder, order.outputs)
            paths[progress.CONTAINER_PATH] = told = folder / "progress"
            following = asyncio.create_task(progress.follow(told, partial(self._tell, order)))
            try:
                result = await self.host.runner.run_once(order.manifest, env_paths=paths)
            finally:
                following.cancel()
            files = await asyncio.to_thread(outputs.read, folder, order.outputs)
        except outputs.OutputUnreadable as error:
            result = PodResult(None, "OutputUnreadable", str(error))
        except Exception as error:
            log.exception("pod of node %s", order.node_id)
            result = PodResult(None, "RunnerFailed", str(error))
        self.ended.append((order, result, files))
        self.pods.pop(order.node_id, None)
        self.awake.set()

    def _tell(self, order: PodOrder, how_far: str) -> None:
        self.told[order.node_id] = how_far
        self.awake.set()

    async def _stop(self, nodes: set[str]) -> None:
        tasks = [task for node in nodes if (task := self.pods.pop(node, None)) is not None]
        for task in tasks:
            task.cancel()
        await settle(tasks)

    async def _sleep(self, until: datetime | None) -> None:
        """Wait for a pod's end, a change of the object, freed locks, or the moment `until`."""
        seconds = None if until is None else (until - self.host.clock()).total_seconds()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.awake.wait(), seconds)
        self.awake.clear()

    async def _write(self, state: RunState, more: Mapping[str, Any]) -> None:
        await self.writer.write({**state.status(), **more}, state.labels())

    async def _end(self, state: RunState, phase: Phase, message: str) -> None:
        now = self.host.clock()
        for node in state.nodes:
            if not node.phase.fulfilled:
                node.mark(Phase.ERROR, now, message)
        state.finish(phase, message, now)
        try:
            await self._write(state, {})
        except NotFound:
            log.info("workflow %s was deleted before its end was written", self.key)


def finish_node(
    state: RunState,
    order: PodOrder,
    result: PodResult,
    files: Mapping[str, str | None],
    now: datetime,
) -> None:
    """Record a pod's end, unless its node was ended before (deadline, shutdown)."""
    node = state.nodes.get(order.node_id)
    if node is not None and not node.phase.fulfilled:
        record(node, order.outputs, result, files, now)


def begun(program: Program, locks: list[str], key: str) -> dict[str, Any]:
    """Return what a restart needs to know beside the nodes: the program and the locks held."""
    status: dict[str, Any] = {"storedWorkflowTemplateSpec": dict(program.spec)}
    if templates := program.stored_templates():
        status["storedTemplates"] = templates
    if locks:
        holding = [{"mutex": lock, "holder": key} for lock in locks]
        status["synchronization"] = {"mutex": {"holding": holding}}
    return status


async def settle(tasks: list[asyncio.Task[None]]) -> None:
    """Wait until cancelled tasks have ended, even when the caller is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
