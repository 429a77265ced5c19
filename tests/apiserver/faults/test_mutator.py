"""No change of a spec wedges the operator: it is refused with a reason, or it converges."""

from collections.abc import Callable

import pytest
from fault_lab.case import opened
from fault_lab.fixtures import CRDS, ROOT, ErrorLog
from fault_lab.laboratory import Server, laboratory
from fault_lab.mutator import Tally, bases, field_paths, lead_all, ways
from fault_lab.quick_loop import run_quickly

LEAST = 2000
EACH = 24
"""Changes of one field at most; all of them are for `make soak`."""
SEED = 20260131
FINE_TUNE_JOB = ROOT / "manifests" / "samples" / "finetunejob.yaml"


# A case that ends leaves the connections of its operator as they are.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.apiserver
@pytest.mark.timeout(1800)
def test_every_field_of_every_kind_is_refused_or_converges(
    server: Server, errors: ErrorLog, tell: Callable[[object], None]
) -> None:
    for kind, way in ways(CRDS, each=EACH, seed=SEED).items():
        assert {one.path for part in way for one in part} == field_paths(CRDS, kind)

    async def run() -> Tally:
        async with laboratory(server) as lab, opened(lab, "mutator", patience=6000) as case:
            return await lead_all(case, ways(CRDS, each=EACH, seed=SEED), bases(FINE_TUNE_JOB))

    tally = run_quickly(run())
    tell(tally)
    assert tally.transitions >= LEAST
    assert tally.converged >= 200, "most changes are refused: the values drawn are poor"
    assert not tally.problems, "\n".join(tally.problems)
    assert not errors.lines, "\n".join(errors.lines)
