"""A scenario undisturbed in quick time, and then with the operator's process, in real time."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from fault_proxy.proxy import Tap

from fault_lab.laboratory import Laboratory, Server, laboratory
from fault_lab.matrix import Baseline, Outcome, Variation, disturbed, undisturbed
from fault_lab.process import ProcessSubject
from fault_lab.quick_loop import run_quickly
from nexus_operator.settings import Settings


@dataclass
class Processes:
    """Every start of the process; each has a folder of its own below `folder`."""

    folder: Path
    started: list[ProcessSubject] = field(default_factory=list)

    async def start(self, lab: Laboratory, settings: Settings, tap: Tap) -> ProcessSubject:
        """Start the process behind a tap of the proxy."""
        folder = self.folder / f"start-{len(self.started) + 1}"
        self.started.append(ProcessSubject(tap, lab.token, settings, folder))
        return self.started[-1]

    def errors(self) -> list[str]:
        """Return what they logged as errors."""
        return [line for one in self.started for line in one.errors()]

    def last_words(self) -> str:
        """Return the ends of their logs."""
        return "\n".join(one.last_words() for one in self.started)


def through(server: Server, scenario: str, variation: Variation, processes: Processes) -> Outcome:
    """Run a scenario under a variation with the process, held to what it comes to undisturbed."""

    async def base() -> Baseline:
        async with laboratory(server) as lab:
            return await undisturbed(lab, scenario)

    async def run(baseline: Baseline) -> Outcome:
        async with laboratory(server) as lab:
            return await disturbed(lab, baseline, variation, starter=processes.start)

    return asyncio.run(run(run_quickly(base())))
