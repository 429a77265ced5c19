"""What continuous integration has no time for: one fault at a time, at every place there is."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from fault_lab.case import opened
from fault_lab.fixtures import CRDS, ROOT, ErrorLog
from fault_lab.laboratory import Server, laboratory
from fault_lab.matrix import Baseline, Outcome, Variation, disturbed, undisturbed
from fault_lab.mutator import Tally, bases, lead_all, ways
from fault_lab.quick_loop import run_quickly
from fault_lab.scenarios import SCENARIOS
from fault_lab.variations import CODES, killed_at
from fault_proxy.faults import WRITES, Answer, Outage

AT_A_TIME = 24
"""Runs wait most of their time: for back-offs, and for the API server to come again."""

PATIENCE = 30_000.0
"""Seconds of the quick clock: on a busy machine it runs ahead of what the operators get done."""

OUTAGE_SECONDS = 600.0
FINE_TUNE_JOB = ROOT / "manifests" / "samples" / "finetunejob.yaml"


def sweep(
    server: Server, scenario: str, drawn: Callable[[Baseline], Iterable[Variation]]
) -> list[Outcome]:
    """Run a scenario under every variation that follows from its undisturbed run."""

    async def run() -> list[Outcome]:
        room = asyncio.Semaphore(AT_A_TIME)
        async with laboratory(server) as lab:
            baseline = await undisturbed(lab, scenario)

            async def one(variation: Variation) -> Outcome:
                async with room:
                    return await disturbed(lab, baseline, replace(variation, patience=PATIENCE))

            return list(await asyncio.gather(*(one(it) for it in drawn(baseline))))

    return run_quickly(run())


def judged(outcomes: list[Outcome], tell: Callable[[object], None]) -> None:
    struck = sum(1 for one in outcomes if one.struck)
    tell(f"{len(outcomes)} runs, {struck} of them met their fault")
    broken = [str(one) for one in outcomes if one.problems]
    assert not broken, "\n".join(broken)
    assert struck >= len(outcomes) * 3 // 4  # some writes coalesce when the load is high


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_once_before_and_after_each_write(
    server: Server, scenario: str, tell: Callable[[object], None]
) -> None:
    judged(sweep(server, scenario, lambda base: killed_at(len(base.writes))), tell)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_write_refused_once_by_each_code(
    server: Server, scenario: str, tell: Callable[[object], None]
) -> None:
    def drawn(base: Baseline) -> Iterator[Variation]:
        for code in CODES:
            for number in range(1, len(base.writes) + 1):
                script = (Answer(status=code, match=WRITES, nth=number),)
                yield Variation(label=f"HTTP {code} at write {number}", script=script)

    judged(sweep(server, scenario, drawn), tell)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ten_minutes_without_an_api_server(
    server: Server, scenario: str, tell: Callable[[object], None]
) -> None:
    def drawn(base: Baseline) -> Iterator[Variation]:
        for at in range(1, base.requests, max(1, base.requests // 8)):
            script = (Outage(at=at, seconds=OUTAGE_SECONDS),)
            yield Variation(label=f"away from request {at} on", script=script)

    judged(sweep(server, scenario, drawn), tell)


@pytest.mark.parametrize("seed", range(3))
def test_all_changes_of_all_fields(
    server: Server, errors: ErrorLog, tell: Callable[[object], None], seed: int
) -> None:
    async def run() -> Tally:
        async with laboratory(server) as lab, opened(lab, "mutator", patience=PATIENCE) as case:
            drawn = ways(CRDS, each=1000, seed=seed)
            return await lead_all(case, drawn, bases(FINE_TUNE_JOB))

    tally = run_quickly(run())
    tell(tally)
    assert not tally.problems, "\n".join(tally.problems)
    assert not errors.lines, "\n".join(errors.lines)
