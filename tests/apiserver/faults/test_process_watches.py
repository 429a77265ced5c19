"""The very process that users run, kopf's watches of models and jobs included, with bad watches."""

from pathlib import Path

import pytest
from fault_lab.laboratory import Server
from fault_lab.matrix import Variation
from fault_lab.process_runs import Processes, through
from fault_lab.variations import OUR_WATCHES
from fault_proxy.faults import WATCHES, Answer, Events, Outage

SCRIPT = (
    Answer(status=429, match=WATCHES, nth=4, every=9, times=4, retry_after=1),
    Answer(status=500, match=WATCHES, nth=6, every=11, times=4),
    Answer(status=503, match=OUR_WATCHES, nth=5, every=7, times=3),
    Events(change="error", match=WATCHES, every=11, times=12),
    Events(change="cut", match=WATCHES, every=17, times=12),
    Events(change="replay", match=WATCHES, seconds=1, every=7),
    Events(change="delay", match=OUR_WATCHES, seconds=0.5, every=5),
    Outage(at=60, seconds=15),
)
EXPECTED = (" kopf.", "process.lease: the Lease")
"""Who logs errors: kopf what it asks for anew, and the Lease that the outage outlasts."""


@pytest.mark.apiserver
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", ["model_life", "tuning_life"])
def test_a_process_whose_watches_fail_comes_to_the_same_end(
    server: Server, tmp_path: Path, scenario: str
) -> None:
    processes = Processes(tmp_path)
    variation = Variation(label="watches", script=SCRIPT, patience=400)
    outcome = through(server, scenario, variation, processes)
    assert not outcome.problems, f"{outcome}\n{processes.last_words()}"
    assert outcome.struck > len(SCRIPT)
    assert len(processes.started) == 2  # one through all of it, and one that looks at all again
    assert not [line for line in processes.errors() if not any(one in line for one in EXPECTED)]
