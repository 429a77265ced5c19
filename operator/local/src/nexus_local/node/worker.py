"""One pod that is kept running: started, probed, started again, and stopped when it is deleted."""

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path

from nexus_api.meta import GROUP, Manifest
from nexus_local.node import pod_status
from nexus_local.node.backoff import Backoff
from nexus_local.node.children import Child
from nexus_local.node.container import Launch
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.health import Health
from nexus_local.node.logs import termination_message
from nexus_local.node.machine import Machine, grace_seconds
from nexus_local.node.ports import is_free
from nexus_operator.cluster.errors import NotFound
from nexus_operator.cluster.protocol import Ref

FINALIZER = f"{GROUP}/node"
_DRAIN_SECONDS = 1.0  # idle connections that clients keep open are not waited for any longer
LOCAL_PORTS = f"{GROUP}/local-ports"


class PodWorker:
    """Runs one pod until it is deleted or the platform stops."""

    def __init__(self, machine: Machine, pod: Manifest, backoff: Backoff) -> None:
        """Take a pod over, maybe from an earlier platform."""
        self.pod = pod
        self.ports: dict[int | str, int] = {}
        self._machine = machine
        self._backoff = backoff
        self._container = pod_status.first(pod, machine.clock())
        self._reported: Manifest | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._deleted = False
        self._expired = False
        self._ends = 0

    @property
    def ready(self) -> bool:
        """Whether the pod takes new connections now."""
        return self._container.ready and not self._stopping

    def see(self, pod: Manifest) -> None:
        """Take note of a newer version of the pod; its deletion stops it."""
        if pod["metadata"]["uid"] != self.pod["metadata"]["uid"]:
            return  # another pod of the same name, whose turn comes when this one has ended
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted = True
            self.stop()

    def stop(self) -> None:
        """Stop the container and end `run`; a pod that is not deleted stays for the next start."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Keep the pod as its specification says until `stop` or its deletion."""
        try:
            if "deletionTimestamp" in self.pod["metadata"]:
                self._deleted = self._stopping = True
            await self._live()
            if self._deleted:
                await self._release()
        except NotFound:
            self._deleted = True  # someone took the finalizer away
        finally:
            self._stopping = True
            self._machine.give_back_ports(self.ports)
            if self._deleted:
                metadata = self.pod["metadata"]
                self._machine.folders.forget(metadata["namespace"], metadata["name"])

    async def _live(self) -> None:
        deadline = self.pod["spec"].get("activeDeadlineSeconds")
        timer = None
        if deadline is not None:
            timer = asyncio.get_running_loop().call_later(deadline, self._expire)
        try:
            while not self._stopping and not self._is_over():
                await self._attempt()
            if not self._deleted:
                await self._report()
            while not self._stopping:
                await self._woken()
        finally:
            if timer is not None:
                timer.cancel()

    async def _attempt(self) -> None:
        """Start the container once and see it through to its end, and to the wait after it."""
        try:
            await self._take_ports()
            prepared = await self._machine.prepare(self.pod, self.ports)
            child, log = self._machine.start(self.pod, prepared)
        except PodRefusedError as error:
            self._ends += 1
            self._container = self._container.waiting(error.reason, error.message)
            await self._report()
            await self._pause(max(self._backoff.first, self._backoff.delay(self._ends)))
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            await self._watch(child, prepared, log)
        finally:
            if not child.ended.done():
                child.kill()  # only when this worker itself is cancelled or fails
        self._ends = self._backoff.ends(self._ends, loop.time() - begun)
        if self._stopping or self._is_over():
            return
        await self._report()
        delay = self._backoff.delay(self._ends)
        if delay:
            name = self.pod["spec"]["containers"][0]["name"]
            self._container = self._container.held_back(delay, name)
            await self._report()
            await self._pause(delay)
        self._container = self._container.again()

    async def _watch(self, child: Child, prepared: Launch, log: Path) -> None:
        """Follow a running container to its end; `_container` then says how it ended."""
        machine = self._machine
        self._container = self._container.running(machine.clock())
        health = Health(self._wake.set)
        container = self.pod["spec"]["containers"][0]
        probing = asyncio.create_task(
            health.watch(container, prepared, machine.children, machine.entrypoints)
        )
        child.ended.add_done_callback(lambda _: self._wake.set())
        why = ""
        try:
            while not child.ended.done():
                self._container = replace(
                    self._container, started=health.started, ready=health.ready
                )
                await self._report()
                if health.failed or self._stopping or self._expired:
                    self._container = replace(self._container, ready=False)
                    why = health.failed
                    if self._deleted:
                        # No new connection comes here now; let the last ones get their answers.
                        await machine.traffic.quiet(self.ports.values(), _DRAIN_SECONDS)
                    await child.stop(grace_seconds(self.pod))
                    break
                await self._woken()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        code = child.ended.result()
        reason = "DeadlineExceeded" if self._expired else pod_status.exit_reason(code)
        policy = container.get("terminationMessagePolicy")
        if code != 0 and not why and policy == "FallbackToLogsOnError":
            why = termination_message(log)
        self._container = self._container.terminated(code, reason, machine.clock(), why)

    async def _take_ports(self) -> None:
        """Reserve ports and say so on the pod; after a restart only if another has taken one."""
        if not all(is_free(port) for port in self.ports.values()) or not self._reported:
            self._machine.give_back_ports(self.ports)
            self.ports = self._machine.take_ports(self.pod)
        metadata = self.pod["metadata"]
        finalizers = metadata.get("finalizers") or []
        ports = json.dumps({str(port): local for port, local in self.ports.items()})
        patch: Manifest = {"metadata": {}}
        if FINALIZER not in finalizers:
            patch["metadata"]["finalizers"] = [*finalizers, FINALIZER]
        if self.ports and (metadata.get("annotations") or {}).get(LOCAL_PORTS) != ports:
            patch["metadata"]["annotations"] = {LOCAL_PORTS: ports}
        if patch["metadata"]:
            self.pod = await self._machine.cluster.patch(self._ref(), patch)

    async def _release(self) -> None:
        left = [f for f in self.pod["metadata"].get("finalizers") or () if f != FINALIZER]
        with contextlib.suppress(NotFound):
            await self._machine.cluster.patch(self._ref(), {"metadata": {"finalizers": left}})

    async def _report(self) -> None:
        """Write the status if it has changed."""
        known = self.pod if self._reported is None else {**self.pod, "status": self._reported}
        status = pod_status.status(known, self._container, self._machine.clock())
        if status != self._reported:
            self._reported = status
            await self._machine.cluster.patch(self._ref(), {"status": status}, subresource="status")

    def _expire(self) -> None:
        self._expired = True
        self._wake.set()

    def _is_over(self) -> bool:
        """Whether the container has ended for good."""
        policy = self.pod["spec"].get("restartPolicy", "Always")
        in_phase = pod_status.phase(self._container, policy)
        return self._expired or in_phase in {"Succeeded", "Failed"}

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until the pod is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self._stopping or self._expired):
                    await self._woken()

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    def _ref(self) -> Ref:
        metadata = self.pod["metadata"]
        return Ref("v1", "Pod", metadata["namespace"], metadata["name"])
