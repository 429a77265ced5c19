"""The very process that users run, ended by SIGKILL in the middle of its writes, takes up again."""

from pathlib import Path

import pytest
from fault_lab.laboratory import Server
from fault_lab.matrix import Variation
from fault_lab.process_runs import Processes, through
from fault_proxy.faults import Kill

KILLS = (Kill(write=6, when="before"), Kill(write=17, when="after"))


@pytest.mark.apiserver
@pytest.mark.timeout(1200)
def test_a_process_that_was_killed_comes_to_the_same_end(server: Server, tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    variation = Variation(label="SIGKILL", script=KILLS, patience=400)
    outcome = through(server, "model_life", variation, processes)
    assert not outcome.problems, f"{outcome}\n{processes.last_words()}"
    assert outcome.struck == len(KILLS)
    assert len(processes.started) == 4  # one, one after each kill, and one that looks at all again
    assert not processes.errors()
