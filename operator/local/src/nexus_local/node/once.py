"""One pod run to its end, for a step of a workflow."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from nexus_api.meta import GROUP, Manifest
from nexus_local.node import pod_status
from nexus_local.node.children import Child
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.logs import termination_message
from nexus_local.node.machine import Machine, grace_seconds
from nexus_local.node.pod_status import Container
from nexus_local.workflows.runner import PodResult
from nexus_operator.cluster.errors import Invalid, NotFound
from nexus_operator.cluster.protocol import Ref

RUN_ONCE = f"{GROUP}/run-once"
"""Annotation of pods that someone else runs: the node leaves them alone."""


async def run_once(machine: Machine, pod: Manifest, *, env_paths: Mapping[str, Path]) -> PodResult:
    """Run the pod's container once; see `nexus_local.workflows.runner.PodRunner`.

    The Pod object tells people and tools of the run and leads to its log; it goes with its owner.
    """
    metadata = {"namespace": "default", **pod["metadata"]}
    annotations = {**(metadata.get("annotations") or {}), RUN_ONCE: "true"}
    wanted = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "annotations": annotations},
        "spec": {"restartPolicy": "Never", **pod["spec"]},
    }
    ref = Ref("v1", "Pod", metadata["namespace"], metadata["name"])
    await machine.cluster.delete(ref)  # of a run that a crash cut short
    machine.folders.forget(ref.namespace, ref.name)
    try:
        stored = await machine.cluster.create(wanted)
    except Invalid as error:
        return PodResult(None, "CreateContainerConfigError", str(error))
    run = _Run(machine, ref, stored, pod_status.first(stored, machine.clock()))
    try:
        return await run.to_the_end(env_paths)
    finally:
        machine.give_back_ports(run.ports)
        machine.folders.clear_scratch(ref.namespace, ref.name)


class _Run:
    def __init__(self, machine: Machine, ref: Ref, pod: Manifest, container: Container) -> None:
        self.ports: dict[int | str, int] = {}
        self._machine = machine
        self._ref = ref
        self._pod = pod
        self._container = container

    async def to_the_end(self, files: Mapping[str, Path]) -> PodResult:
        machine, clock = self._machine, self._machine.clock
        try:
            self.ports = machine.take_ports(self._pod)
            prepared = await machine.prepare(self._pod, self.ports, files)
            child, log = await machine.start_step(self._pod, prepared)
        except PodRefusedError as error:
            await self._report(self._container.waiting(error.reason, error.message))
            return PodResult(None, error.reason, error.message)
        try:
            await self._report(self._container.running(clock()))
            code, expired = await self._wait(child)
        except BaseException:
            # Cancelled: the step must not go on behind the back of whoever cancelled it.
            await _stop(child, grace_seconds(self._pod))
            ended = self._container.terminated(child.ended.result(), "Error", clock())
            await self._report(ended)
            raise
        if expired:
            seconds = self._pod["spec"]["activeDeadlineSeconds"]
            reason, message = "DeadlineExceeded", f"the pod ran longer than {seconds} seconds"
        else:
            reason, message = pod_status.exit_reason(code), self._last_words(code, log)
        await self._report(self._container.terminated(code, reason, clock(), message))
        return PodResult(code, reason, message, log)

    def _last_words(self, code: int, log: Path) -> str:
        """The termination message of a container that failed, where its policy takes the log."""
        container = self._pod["spec"]["containers"][0]
        if code == 0 or container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        return termination_message(log)

    async def _wait(self, child: Child) -> tuple[int, bool]:
        """Return the exit code, and whether the deadline had passed."""
        try:
            async with asyncio.timeout(self._pod["spec"].get("activeDeadlineSeconds")):
                return await asyncio.shield(child.ended), False
        except TimeoutError:
            return await child.stop(grace_seconds(self._pod)), True

    async def _report(self, container: Container) -> None:
        self._container = container
        status = pod_status.status(self._pod, container, self._machine.clock())
        self._pod = {**self._pod, "status": status}
        try:
            await self._machine.cluster.patch(self._ref, {"status": status}, subresource="status")
        except NotFound:
            return  # its workflow was deleted while it ran


async def _stop(child: Child, grace: float) -> None:
    """Stop a child and wait for its end, also when this is cancelled in turn."""
    stopping = asyncio.ensure_future(child.stop(grace))
    while not child.ended.done():
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            child.kill()
