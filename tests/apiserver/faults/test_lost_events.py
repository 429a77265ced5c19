"""What no watch ever tells, of children as of ours, is found when the watch lists anew."""

from datetime import timedelta

import pytest
from fault_lab.fixtures import ErrorLog
from fault_lab.laboratory import Server, laboratory
from fault_lab.matrix import Outcome, Variation, disturbed, undisturbed
from fault_lab.quick_loop import run_quickly
from fault_proxy.faults import Events

from nexus_operator.reconcile import controller


@pytest.mark.apiserver
@pytest.mark.timeout(900)
def test_with_every_second_event_lost_it_comes_to_the_same_end(
    server: Server, errors: ErrorLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index: of a Deployment that got unready unseen, a Service is led to it for that while."""
    monkeypatch.setattr(controller, "LIST_ANEW", timedelta(minutes=1))
    lost = Variation(label="every second event lost", script=(Events(change="drop", every=2),))

    async def run() -> Outcome:
        async with laboratory(server) as lab:
            return await disturbed(lab, await undisturbed(lab, "index_life"), lost)

    outcome = run_quickly(run())
    assert not outcome.problems, str(outcome)
    assert outcome.struck > 0
    assert not errors.lines, "\n".join(errors.lines)
