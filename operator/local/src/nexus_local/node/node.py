"""The node: Deployments, Pods and Services of one machine brought to life."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from nexus_api.meta import Manifest
from nexus_local.node import logs
from nexus_local.node.backoff import Backoff
from nexus_local.node.children import Children
from nexus_local.node.container import EntryPoints
from nexus_local.node.deployments import Deployments, owner_key
from nexus_local.node.folders import Folders
from nexus_local.node.informer import Informer, Key
from nexus_local.node.keyed_queue import KeyedQueue
from nexus_local.node.machine import Machine
from nexus_local.node.once import RUN_ONCE, run_once
from nexus_local.node.orphans import Records
from nexus_local.node.services import Services
from nexus_local.node.warm import Preload, WarmProgram
from nexus_local.node.worker import PodWorker
from nexus_local.workflows.runner import PodResult
from nexus_operator.cluster.protocol import Cluster

_HOUSEKEEPING_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Memory(NamedTuple):
    """What one pod's processes hold in memory now. resident: bytes."""

    pod: str
    pid: int
    resident: int


def _now() -> datetime:
    return datetime.now(UTC)


class Node:
    """One machine.  It belongs to the event loop, and to the thread, in which it is made."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        data_dir: Path,
        entrypoints: EntryPoints,
        claims: Mapping[str, Path] | None = None,
        preloads: Mapping[str, Preload] | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take the machine over: children that an earlier platform left here are ended.

        data_dir: the node's own folder.  entrypoints: the programs that containers may run, by
        command name, as absolute command lines.  claims: directories for persistent volume
        claims of that name; others get one below data_dir.  preloads: programs, by command name,
        that are held ready in memory for the steps of workflows.
        """
        self.folders = Folders(data_dir, claims or {})
        self._children = Children(Records(self.folders.processes, self.folders.pods))
        self._warm = {
            name: WarmProgram(preload, self._children, data_dir)
            for name, preload in (preloads or {}).items()
        }
        self._machine = Machine(
            cluster, self.folders, entrypoints, self._children, clock, warm=self._warm
        )
        self._backoff = backoff or Backoff()
        self._workers: dict[Key, PodWorker] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._services = Services(
            cluster,
            self._workers,
            ports=self._machine.ports,
            traffic=self._machine.traffic,
            clock=clock,
        )
        self._pods = Informer(cluster, "v1", "Pod", self._pod_changed)
        self._deployments = Informer(
            cluster, "apps/v1", "Deployment", lambda key, _: self._deployment_queue.add(key)
        )
        self._service_objects = Informer(
            cluster, "v1", "Service", lambda key, _: self._service_queue.add(key)
        )
        self._deployment_queue = KeyedQueue(Deployments(cluster, clock).reconcile)
        self._service_queue = KeyedQueue(self._services.reconcile)
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Keep everything running until `stop` is set; then end all children and close."""
        parts = (
            self._pods.run(),
            self._deployments.run(),
            self._service_objects.run(),
            self._deployment_queue.run(),
            self._service_queue.run(),
            self._keep_folders_small(),
        )
        tasks = [asyncio.create_task(part) for part in parts]
        waiting = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                task.result()  # a part that failed takes the platform down, with its reason
        finally:
            for task in (waiting, *tasks):
                task.cancel()
            await asyncio.gather(waiting, *tasks, return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """Stop every pod gracefully, then kill whatever is left; needed if `run` never ran."""
        self._stopping = True
        await self._services.close()
        for worker in self._workers.values():
            worker.stop()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        for program in self._warm.values():
            program.close()
        await self._children.close()

    async def run_once(self, pod: Manifest, *, env_paths: Mapping[str, Path]) -> PodResult:
        """Run a workflow's pod to its end; see `nexus_local.workflows.runner.PodRunner`."""
        return await run_once(self._machine, pod, env_paths=env_paths)

    def memory(self) -> list[Memory]:
        """Return what each pod's processes hold in memory now."""
        return [
            Memory(child.label, child.pid, child.memory()) for child in self._children.running()
        ]

    def _pod_changed(self, key: Key, pod: Manifest | None) -> None:
        worker = self._workers.get(key)
        last = pod or (worker.pod if worker else None)
        if last is not None and (owner := owner_key(last)):
            self._deployment_queue.add(owner)
        if worker is not None and pod is None:
            worker.stop()
        elif worker is not None and pod is not None:
            worker.see(pod)
        else:
            self._start(key)

    def _start(self, key: Key) -> None:
        """Give a pod a worker, unless it has one, is gone, or someone else runs it."""
        pod = self._pods.objects.get(key)
        if pod is None or key in self._workers or self._stopping:
            return
        if RUN_ONCE in (pod["metadata"].get("annotations") or {}):
            return
        worker = PodWorker(self._machine, pod, self._backoff)
        self._workers[key] = worker
        task = asyncio.get_running_loop().create_task(worker.run())
        self._running[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: Key) -> None:
        """Forget a worker; another pod of that name, or one whose worker failed, gets a new one."""
        task = self._running.pop(key)
        worker = self._workers.pop(key)
        loop = asyncio.get_running_loop()
        if not task.cancelled() and (error := task.exception()):
            _log.error("pod %s/%s: %s; trying again", *key, error, exc_info=error)
            loop.call_later(_RETRY_SECONDS, self._start, key)
            return
        there = self._pods.objects.get(key)
        if there and there["metadata"]["uid"] != worker.pod["metadata"]["uid"]:
            self._start(key)

    async def _keep_folders_small(self) -> None:
        """Remove the folders of pods that are gone, and keep logs within bounds."""
        while True:
            known = list(self.folders.known_pods())
            pods = await self._machine.cluster.list("v1", "Pod")
            there = {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods}
            for key in known:
                if key not in there and key not in self._workers:
                    self.folders.forget(*key)
                for log in self.folders.log_files(*key)[-1:]:
                    logs.rotate(log)
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
