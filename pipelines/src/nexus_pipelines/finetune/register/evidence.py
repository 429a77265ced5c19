"""What a decision is reproduced from, to be kept beside the decision.

The objects of a run go when `spec.runsKept` newer runs have begun; what was decided upon them
serves for longer.
"""

from collections.abc import Callable

from nexus_evaluation import golden, results
from nexus_evaluation.decision import Decision
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.selected import GOLDEN
from nexus_pipelines.finetune.store import FineTuneStore

GOLDEN_FILE = "golden.jsonl"


class EvidenceDiffers(StepError):
    """The golden set or the results in the store are not those of the decision."""


def evidence(run: FineTuneStore, decision: Decision) -> dict[str, bytes]:
    """Return golden items and both sides' results as they are stored, by name of file.

    `python -m nexus_evaluation.reproduce` takes them, after the decision, in this order.

    Raises:
        EvidenceDiffers: something is not what the decision was made on.
        RunObjectMissing: something is not there.
    """
    files = {GOLDEN_FILE: _checked(run, GOLDEN, _golden_digest, decision.golden_digest)}
    digests = {"candidate": decision.candidate_digest, "production": decision.production_digest}
    for side, digest in digests.items():
        if digest is not None:
            name = f"{side}.jsonl"
            files[name] = _checked(run, f"evaluate/{name}", _results_digest, digest)
    return files


def _checked(
    run: FineTuneStore, name: str, digest: Callable[[bytes, str], str], decided: str
) -> bytes:
    with run.open(name) as stream:
        data = stream.read()
    if (found := digest(data, name)) != decided:
        raise EvidenceDiffers(
            f"run {run.run}: {name} is not what the gate decided on: its digest is {found[:12]}, "
            f"the decision's {decided[:12]}; nothing is registered: start another run"
        )
    return data


def _golden_digest(data: bytes, name: str) -> str:
    return golden.read(data, name).digest


def _results_digest(data: bytes, name: str) -> str:
    return results.results_digest(results.read(data, name))
