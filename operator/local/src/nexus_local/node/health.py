"""The probes of one running container."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from nexus_api.meta import Manifest
from nexus_local.node import probes
from nexus_local.node.children import Children
from nexus_local.node.container import EntryPoints, Launch, program
from nexus_local.node.errors import PodRefusedError


class Health:
    """Watches a container; `changed` is called whenever one of the fields below changes.

    started: its startup probe has passed (or it has none).  ready: it may get traffic.
    failed: why it has to be started again, empty while it need not.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        """Begin with nothing known."""
        self.started = False
        self.ready = False
        self.failed = ""
        self._changed = changed

    async def watch(
        self, container: Manifest, prepared: Launch, children: Children, entrypoints: EntryPoints
    ) -> None:
        """Run the container's probes until cancelled."""

        def check(probe: Manifest) -> probes.Check:
            def run(command: list[str]) -> probes.Check:
                return lambda: _succeeds(command, container, prepared, children, entrypoints)

            return probes.check_of(probe, prepared.ports, run)

        try:
            if startup := container.get("startupProbe"):
                await self._start(probes.Timing.of(startup), check(startup))
            readiness, liveness = container.get("readinessProbe"), container.get("livenessProbe")
            self.started, self.ready = True, not readiness
            self._changed()
            async with asyncio.TaskGroup() as tasks:
                if readiness:
                    timing = probes.Timing.of(readiness)
                    tasks.create_task(probes.watch(timing, check(readiness), self._set_ready))
                if liveness:
                    timing = probes.Timing.of(liveness)
                    tasks.create_task(probes.watch(timing, check(liveness), self._set_alive))
        except ValueError as error:
            self._fail(f"a probe cannot run: {error}")

    async def _start(self, timing: probes.Timing, check: probes.Check) -> None:
        decided = asyncio.get_running_loop().create_future()

        def decide(passing: bool) -> None:
            if passing and not decided.done():
                decided.set_result(None)
            elif not passing:
                self._fail("its startup probe failed")

        watching = asyncio.create_task(probes.watch(timing, check, decide))
        try:
            await decided
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _set_ready(self, passing: bool) -> None:
        self.ready = passing
        self._changed()

    def _set_alive(self, passing: bool) -> None:
        if not passing:
            self._fail("its liveness probe failed")

    def _fail(self, why: str) -> None:
        self.failed = why
        self._changed()


async def _succeeds(
    command: list[str],
    container: Manifest,
    prepared: Launch,
    children: Children,
    entrypoints: EntryPoints,
) -> bool:
    """Run the command of an exec probe; only the programs that a container may run are allowed."""
    try:
        head = program({**container, "command": command}, entrypoints)
        child = children.start(
            (*head, *command[1:]),
            env=prepared.env,
            folder=prepared.folder,
            log=Path("/dev/null"),
            label=f"probe of {prepared.folder.name}",
        )
    except PodRefusedError as error:
        raise ValueError(error.message) from error
    try:
        return await asyncio.shield(child.ended) == 0
    finally:
        child.kill()
