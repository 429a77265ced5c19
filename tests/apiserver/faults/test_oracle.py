"""The oracles see what they are there for: an operator that is broken on purpose does not pass."""

import pytest
from fault_lab.laboratory import Server, laboratory
from fault_lab.matrix import Baseline, Outcome, Variation, disturbed, undisturbed
from fault_lab.quick_loop import run_quickly

from nexus_operator.plan import servingmodel

SURGE = "model_life"


def base(server: Server) -> Baseline:
    async def run() -> Baseline:
        async with laboratory(server) as lab:
            return await undisturbed(lab, SURGE)

    return run_quickly(run())


def again(server: Server, baseline: Baseline) -> Outcome:
    async def run() -> Outcome:
        async with laboratory(server) as lab:
            return await disturbed(lab, baseline, Variation(label="broken", patience=20))

    return run_quickly(run())


@pytest.mark.apiserver
@pytest.mark.timeout(900)
def test_a_switch_to_what_is_not_ready_is_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = base(server)
    monkeypatch.setattr(servingmodel, "live_revision", lambda wanted, *_rest: wanted)
    problems = again(server, baseline).problems
    assert any("which was not ready" in one for one in problems), problems
    assert any("surging did not come" in one for one in problems), problems
