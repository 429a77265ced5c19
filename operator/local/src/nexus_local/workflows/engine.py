"""The workflow engine of the laptop: watches Workflows and runs each to its end."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nexus_local.workflows.locks import LockTable
from nexus_local.workflows.program import ARGO
from nexus_local.workflows.run import Host, WorkflowRun, settle
from nexus_local.workflows.runner import PodRunner
from nexus_operator.cluster.errors import ClusterError, Conflict
from nexus_operator.cluster.protocol import Cluster, Ref, WatchEvent

log = logging.getLogger(__name__)
KIND = "Workflow"
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


def utc_now() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(UTC)


class WorkflowEngine:
    """Interprets Workflows as Argo does; stands where the Argo controller stands on a cluster.

    cluster: where Workflows and their templates are. runner: runs pods. scratch: a folder of its
    own, for files of output parameters while a pod runs. clock: the time, aware of its zone.
    """

    def __init__(
        self,
        cluster: Cluster,
        runner: PodRunner,
        *,
        scratch: Path,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.cluster = cluster
        self.clock = clock
        self.runs: dict[str, tuple[WorkflowRun, asyncio.Task[None]]] = {}
        self.ageing: dict[str, asyncio.Task[None]] = {}
        self.host = Host(cluster, runner, clock, scratch, LockTable(), self._wake_all)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop the pods; the Workflows go on at the next start."""
        watching = asyncio.create_task(self._watch_forever(), name="workflow watch")
        stopping = asyncio.create_task(stop.wait(), name="workflow stop")
        try:
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            tasks = [watching, *(task for _, task in self.runs.values()), *self.ageing.values()]
            for task in (*tasks, stopping):
                task.cancel()
            await settle(tasks)
            self.runs.clear()
            self.ageing.clear()

    async def _watch_forever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._reclaim_locks()
                async for event in self.cluster.watch(ARGO, KIND):
                    pause = FIRST_PAUSE_SECONDS
                    with odd_one_out(event.object):
                        self._see(event)
            except ClusterError as error:
                log.warning("watching workflows: %s", error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _reclaim_locks(self) -> None:
        """Give the workflows that run their locks before one that waits can ask for them."""
        for workflow in await self.cluster.list(ARGO, KIND):
            with odd_one_out(workflow):
                self._reclaim(workflow)

    def _reclaim(self, workflow: Mapping[str, Any]) -> None:
        status = workflow.get("status") or {}
        if status.get("finishedAt") is None:
            held = (status.get("synchronization") or {}).get("mutex") or {}
            locks = [entry["mutex"] for entry in held.get("holding") or ()]
            self.host.locks.reclaim(key_of(workflow), locks)

    def _see(self, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            return
        workflow = event.object
        key, uid = key_of(workflow), str(workflow["metadata"].get("uid", ""))
        run, task = self.runs.get(key, (None, None))
        gone = event.type == "DELETED" or workflow["metadata"].get("deletionTimestamp")
        if task and (gone or (run and run.uid != uid)):
            task.cancel()  # ends its pods first; a new object of this name waits for that
            run = None
        if gone:
            if ageing := self.ageing.pop(key, None):
                ageing.cancel()
        elif (workflow.get("status") or {}).get("finishedAt"):
            self._age(key, workflow)
        elif run:
            run.notice(workflow)
        else:
            self._begin(key, workflow, task)

    def _begin(
        self, key: str, workflow: Mapping[str, Any], before: asyncio.Task[None] | None
    ) -> None:
        run = WorkflowRun(self.host, workflow)
        task = asyncio.create_task(drive_after(before, run), name=f"workflow {key}")
        self.runs[key] = (run, task)
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        if self.runs.get(key, (None, None))[1] is task:
            del self.runs[key]
        if not task.cancelled() and (error := task.exception()):
            log.error("workflow %s: %s", key, error)

    def _wake_all(self) -> None:
        for run, _ in self.runs.values():
            run.wake()

    def _age(self, key: str, workflow: Mapping[str, Any]) -> None:
        """Delete a finished Workflow when its ttlStrategy says so."""
        moment = expiry(workflow)
        if moment is None or key in self.ageing:
            return
        task = asyncio.create_task(self._expire(workflow, moment), name=f"ttl of {key}")
        self.ageing[key] = task
        task.add_done_callback(lambda _: self.ageing.pop(key, None))

    async def _expire(self, workflow: Mapping[str, Any], moment: datetime) -> None:
        await asyncio.sleep(max(0.0, (moment - self.clock()).total_seconds()))
        metadata = workflow["metadata"]
        ref = Ref(ARGO, KIND, metadata["namespace"], metadata["name"])
        try:
            await self.cluster.delete(ref, uid=metadata.get("uid"))
        except Conflict:
            log.debug("%s was replaced before its time to live ran out", ref)
        except ClusterError as error:
            log.warning("deleting %s, whose time to live ran out: %s", ref, error)


@contextmanager
def odd_one_out(workflow: Mapping[str, Any]) -> Iterator[None]:
    """Leave out a Workflow that cannot be understood: raised, it would end the whole platform.

    It would do so again at each start, since the Workflow stays where it is.
    """
    try:
        yield
    except Exception:
        log.exception("workflow %s cannot be understood and is left alone", key_of(workflow))


async def drive_after(before: asyncio.Task[None] | None, run: WorkflowRun) -> None:
    """Drive a run once an earlier one of the same name has ended its pods."""
    if before is not None:
        await settle([before])
    await run.drive()


def key_of(workflow: Mapping[str, Any]) -> str:
    """Return `<namespace>/<name>`."""
    return f"{workflow['metadata']['namespace']}/{workflow['metadata']['name']}"


def expiry(workflow: Mapping[str, Any]) -> datetime | None:
    """Return when the ttlStrategy lets a finished Workflow go; None for never."""
    status = workflow["status"]
    spec = {**(status.get("storedWorkflowTemplateSpec") or {}), **workflow["spec"]}
    strategy = spec.get("ttlStrategy") or {}
    outcome = "Success" if status.get("phase") == "Succeeded" else "Failure"
    for field in (f"secondsAfter{outcome}", "secondsAfterCompletion"):
        if strategy.get(field) is not None:
            ended = datetime.fromisoformat(status["finishedAt"])
            return ended + timedelta(seconds=int(strategy[field]))
    return None
