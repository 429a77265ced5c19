"""Every scenario comes to the same end whatever disturbs it, and does no harm on the way."""

from collections.abc import Callable

import pytest
from fault_lab.fixtures import ErrorLog
from fault_lab.laboratory import Server, laboratory
from fault_lab.matrix import Outcome, run_matrix
from fault_lab.quick_loop import run_quickly
from fault_lab.scenarios import SCENARIOS
from fault_lab.variations import all_once


# An operator that is killed in this process leaves its connections as they are.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.apiserver
@pytest.mark.timeout(2400)
def test_every_scenario_under_every_disturbance(
    server: Server, errors: ErrorLog, tell: Callable[[object], None]
) -> None:
    variations = all_once()

    async def run() -> list[Outcome]:
        async with laboratory(server) as lab:
            return await run_matrix(lab, SCENARIOS, variations)

    outcomes = run_quickly(run())
    tell(_summary(outcomes))
    assert len(outcomes) == len(SCENARIOS) * len(variations)
    broken = [str(one) for one in outcomes if one.problems]
    assert not broken, "\n".join(broken)
    assert not errors.lines, "\n".join(errors.lines)
    # A disturbance that strikes nowhere proves nothing.
    idle = {one.label for one in outcomes} - {one.label for one in outcomes if one.struck}
    assert idle == {"two operators"}


def _summary(outcomes: list[Outcome]) -> str:
    struck = sum(one.struck for one in outcomes)
    writes = sum(one.writes for one in outcomes)
    starts = sum(one.starts for one in outcomes)
    return (
        f"{len(outcomes)} disturbed runs: {struck} requests and events disturbed, {writes} writes, "
        f"{starts} starts of the operator"
    )
