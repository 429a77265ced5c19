"""No change of a spec wedges the operator: it is refused with a reason, or it converges."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fault_lab.case import opened
from fault_lab.laboratory import Server, laboratory
from fault_lab.mutations import Mutation, fields, mutations, spec_schema, walk
from fault_lab.mutator import BASE_SPECS, Tally, lead_all
from fault_lab.quick_loop import run_quickly

from .conftest import CRDS, ROOT, ErrorLog

AT_A_TIME = 4
LEAST = 2000
SEED = 20260131
FINE_TUNE_JOB = ROOT / "manifests" / "samples" / "finetunejob.yaml"


def definition(kind: str) -> Path:
    return next(path for path in CRDS if kind.lower() in path.name)


def bases() -> dict[str, dict[str, object]]:
    return {**BASE_SPECS, "FineTuneJob": yaml.safe_load(FINE_TUNE_JOB.read_text())["spec"]}


@pytest.mark.apiserver
@pytest.mark.timeout(600)
def test_every_field_of_every_kind_is_refused_or_converges(
    server: Server, errors: ErrorLog, tell: Callable[[object], None]
) -> None:
    ways: dict[str, list[list[Mutation]]] = {}
    for kind in BASE_SPECS:
        schema = spec_schema(yaml.safe_load(definition(kind).read_text()))
        once = list(mutations(schema))
        assert {one.path for one in once} == {path for path, _ in fields(schema)}
        way = walk(schema, len(once), SEED)
        ways[kind] = [way[number::AT_A_TIME] for number in range(AT_A_TIME)]

    async def run() -> Tally:
        async with laboratory(server) as lab, opened(lab, "mutator", patience=300) as case:
            return await lead_all(case, ways, bases())

    tally = run_quickly(run())
    tell(tally)
    assert tally.transitions >= LEAST
    assert tally.converged >= 200, "most changes are refused: the values drawn are poor"
    assert not tally.problems, "\n".join(tally.problems)
    assert not errors.lines, "\n".join(errors.lines)
