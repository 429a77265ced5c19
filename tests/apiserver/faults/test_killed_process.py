"""The very process that users run, ended by SIGKILL in the middle of its writes, takes up again."""

import asyncio
import itertools
from pathlib import Path

import pytest
from fault_lab.laboratory import Laboratory, Server, laboratory
from fault_lab.matrix import Baseline, Outcome, Variation, disturbed, undisturbed
from fault_lab.process import ProcessSubject
from fault_lab.quick_loop import run_quickly
from fault_lab.subject import Operator
from fault_proxy.faults import Kill
from fault_proxy.proxy import Tap

from nexus_operator.settings import Settings

KILLS = (Kill(write=6, when="before"), Kill(write=17, when="after"))


@pytest.mark.apiserver
@pytest.mark.timeout(1200)
def test_a_process_that_was_killed_comes_to_the_same_end(server: Server, tmp_path: Path) -> None:
    started: list[ProcessSubject] = []
    numbers = itertools.count(1)

    async def start(lab: Laboratory, settings: Settings, tap: Tap) -> Operator:
        folder = tmp_path / f"start-{next(numbers)}"
        started.append(ProcessSubject(tap, lab.token, settings, folder))
        return started[-1]

    async def base() -> Baseline:
        async with laboratory(server) as lab:
            return await undisturbed(lab, "model_life")

    async def run(baseline: Baseline) -> Outcome:
        variation = Variation(label="SIGKILL", script=KILLS, patience=400)
        async with laboratory(server) as lab:
            return await disturbed(lab, baseline, variation, starter=start)

    outcome = asyncio.run(run(run_quickly(base())))
    told = "\n".join(one.last_words() for one in started)
    assert not outcome.problems, f"{outcome}\n{told}"
    assert outcome.struck == len(KILLS)
    assert len(started) == 4  # the first, one after each kill, and one that looks at all again
    assert not [line for one in started for line in one.errors()]
