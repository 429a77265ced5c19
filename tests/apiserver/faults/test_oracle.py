"""The oracles see what they are there for: an operator that is broken on purpose does not pass."""

import pytest
from fault_lab.laboratory import Server, laboratory
from fault_lab.matrix import Baseline, Outcome, Variation, disturbed, undisturbed
from fault_lab.quick_loop import run_quickly

from nexus_operator.plan import servingmodel

SURGE = "model_life"
SEEN = ("which was not ready", "surging did not come")


def base(server: Server) -> Baseline:
    async def run() -> Baseline:
        async with laboratory(server) as lab:
            return await undisturbed(lab, SURGE)

    return run_quickly(run())


def again(server: Server, baseline: Baseline, patience: float) -> Outcome:
    async def run() -> Outcome:
        async with laboratory(server) as lab:
            return await disturbed(lab, baseline, Variation(label="broken", patience=patience))

    return run_quickly(run())


@pytest.mark.apiserver
@pytest.mark.timeout(900)
def test_a_switch_to_what_is_not_ready_is_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = base(server)
    monkeypatch.setattr(servingmodel, "live_revision", lambda wanted, *_rest: wanted)
    problems: list[str] = []
    for patience in (20, 200, 2000):  # all of it passes; a short one may be too short
        problems = again(server, baseline, patience).problems
        if all(any(words in one for one in problems) for words in SEEN):
            return
    pytest.fail("\n".join(problems))
