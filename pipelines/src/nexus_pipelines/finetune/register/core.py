"""What the registry is told of a candidate, from what the run's steps left.  Pure."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.release import ReleasableUnit
from nexus_evaluation.decision import Decision
from nexus_evaluation.observed import Observed
from nexus_knowledge.prompting.prompt import SYSTEM
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.store import compact
from nexus_pipelines.finetune.validate.profile import Profile
from nexus_registry import CHALLENGED_TAG, VERDICT_TAG, DataSet, Measured, Version

ADAPTER_TAG, UNIT_TAG, RUN_TAG = "nexus.adapter", "nexus.unit", "nexus.run"
FINGERPRINT_TAG = "nexus.fingerprint"
_SHOWN = 12  # characters of a digest in words
_POINTS = 10_000  # of the loss of training; MLflow writes one in about a millisecond
_UNKNOWN = "unknown"  # no digest: no version has such an adapter


@dataclass(frozen=True, slots=True)
class Candidate:
    """All that is known of a candidate when its run is recorded."""

    model: str  # <namespace>.<job>
    run: str
    spec: FineTuneJobSpec
    unit: ReleasableUnit  # without the place of its adapter
    production: ReleasableUnit | None  # what it was compared with
    decision: Decision
    decision_digest: str  # sha256 of decision.json
    selection: Mapping[str, Any]
    training: Mapping[str, Any]
    observed: Observed
    code: str  # version of the code that ran
    profile: Profile | None = None  # of the data; None of a run whose data nobody profiled
    base_digest: str = ""  # of the base that was measured, "" where the evaluation did not say
    base_licence: object = None  # that its files name, as the evaluation left it; None for none
    fingerprint: str = ""  # of the part of the spec that a run depends on, as the operator says

    @property
    def passed(self) -> bool:
        """Whether the gate or a person may promote it: only that makes a version."""
        return self.decision.verdict in {"Promote", "AskPerson"}

    @property
    def digest(self) -> str:
        """Name the version's content: the unit and the decision on it, sha256 in hex.

        The same adapter, judged anew, is another version: its folder holds another decision.
        """
        parts = {"unit": self.unit.digest(), "decision": self.decision_digest}
        return hashlib.sha256(compact(parts).encode()).hexdigest()

    @property
    def data_digest(self) -> str:
        """Name what was selected: counts, digests and the golden set, sha256 in hex."""
        return hashlib.sha256(compact(dict(self.selection)).encode()).hexdigest()

    @property
    def prompt(self) -> str:
        """The system prompt that was asked with."""
        return self.unit.prompt or SYSTEM

    @property
    def prompt_digest(self) -> str:
        """Name the system prompt and its limits, sha256 in hex."""
        unit = self.unit
        parts = [self.prompt, unit.prompt_tokens, unit.context_tokens, unit.max_tokens]
        return hashlib.sha256(compact([*parts, unit.temperature]).encode()).hexdigest()

    @property
    def as_of(self) -> datetime:
        """When the run was started; stamps what is written, so that each attempt writes the same.

        Raises:
            StepError: the selection does not say.
        """
        text = str(self.selection.get("asOf", ""))
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise StepError(f"select/selection.json: asOf {text!r} is no time") from error


def lineage(candidate: Candidate) -> dict[str, str]:
    """Return the tags that lead from code through data and prompt to the adapter.

    What the adapter was trained on and what it serves with may differ (safetensors, and a GGUF of
    the same model): each digest stands beside the name of the weights that it is of.
    """
    read = candidate.training.get("base", {})
    trained_on = {"": read.get("uri"), "Revision": read.get("revision"),
                  "Digest": read.get("digest")}  # fmt: skip
    return {
        "nexus.code": candidate.code,
        "nexus.data": candidate.data_digest,
        "nexus.golden": candidate.decision.golden_digest,
        "nexus.prompt": candidate.prompt_digest,
        **{f"nexus.trainedOn{part}": str(value) for part, value in trained_on.items() if value},
        "nexus.base": str(candidate.unit.base),
        "nexus.baseRevision": candidate.unit.base_revision,
        **({"nexus.baseDigest": candidate.base_digest} if candidate.base_digest else {}),
        ADAPTER_TAG: candidate.unit.adapter_digest or "",
        UNIT_TAG: candidate.unit.digest(),
        "nexus.decision": candidate.decision_digest,
    }


def verdict_tags(candidate: Candidate) -> dict[str, str]:
    """Return the tags that say what the gate decided."""
    decision = candidate.decision
    return {VERDICT_TAG: decision.verdict, "nexus.reason": decision.reason}


def challenged(candidate: Candidate, champion: Version | None) -> str:
    """Name the champion that the candidate was compared with; "" when that was none.

    The number of a version only where production served its very adapter: the champion may have
    moved since the run began, and who was compared with another must not pass for its better.
    """
    production = candidate.production
    if production is None or not production.adapted:
        return ""
    served = production.adapter_digest or _UNKNOWN
    if champion is not None and champion.tags.get(ADAPTER_TAG) == served:
        return champion.number
    return f"with adapter {served[:_SHOWN]}"


def version_tags(candidate: Candidate, *, champion: Version | None) -> dict[str, str]:
    """Return the tags of a version: lineage, verdict, and the champion that it challenges."""
    namespace, _, job = candidate.model.partition(".")
    return {
        **lineage(candidate),
        **verdict_tags(candidate),
        CHALLENGED_TAG: challenged(candidate, champion),
        RUN_TAG: candidate.run,
        FINGERPRINT_TAG: candidate.fingerprint,
        "nexus.namespace": namespace,
        "nexus.job": job,
    }


def parameters(candidate: Candidate) -> dict[str, Any]:
    """Return what the run was asked to do, flat: `lora.r`, `evaluation.minGain`."""
    spec = candidate.spec.model_dump(mode="json", by_alias=True)
    wanted = {name: spec[name] for name in ("baseModel", "data", "lora", "evaluation")}
    trained = candidate.training
    return {
        **dict(_flat(wanted)),
        **dict(_flat({"trained": {name: trained.get(name) for name in ("dtype", "device")}})),
        **dict(_flat({"libraries": trained.get("libraries", {})})),
        "asOf": candidate.selection.get("asOf", ""),
        "engine": candidate.unit.engine,
        "quantization": candidate.unit.quantization,
    }


def measured(candidate: Candidate) -> list[Measured]:
    """Return the run's figures: losses by step, data, both units' metrics, what the gate found."""
    trained, decision = candidate.training, candidate.decision
    losses = [("train.loss", step, loss) for step, loss in _thinned(trained.get("losses", ()))]
    heldout = [
        ("heldout.loss", int(one["steps"]), one["loss"]) for one in trained.get("heldoutLosses", ())
    ]
    figures = {
        **{f"train.{name}": trained.get(name) for name in ("tokens", "seconds", "tokensPerSecond")},
        **{f"candidate.{name}": mean.candidate for name, mean in decision.means.items()},
        **{f"production.{name}": mean.production for name, mean in decision.means.items()},
        "gate.items": decision.items,
        "gate.level": decision.alpha.level,
        **dict(candidate.observed.figures()),
        **dict(candidate.profile.figures() if candidate.profile else ()),
    }
    if (found := decision.comparison) is not None:
        figures |= {
            "gate.gain": found.gain,
            "gate.lower": found.lower,
            "gate.upper": found.upper,
            "gate.smallestDetectable": found.smallest_detectable,
        }
    points = [*losses, *heldout, *((name, 0, value) for name, value in figures.items())]
    return [
        Measured(name, float(value), step)
        for name, step, value in points
        if value is not None and math.isfinite(value)
    ]


def _thinned(losses: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield losses with their steps: all, or every so many and the last."""
    stride = -(-len(losses) // _POINTS)
    for step, loss in enumerate(losses, 1):
        if (step - 1) % stride == 0 or step == len(losses):
            yield step, loss


def data_sets(
    candidate: Candidate, work_url: str, digests: Mapping[str, str], *, golden: str
) -> list[DataSet]:
    """Return the data that the run read.

    Args:
        candidate: whose run it is.
        work_url: address of the run's objects.
        digests: sha256 of select/train.jsonl and select/heldout.jsonl, by name.
        golden: where the golden items are kept, if the set has no address of its own.
    """
    chosen = candidate.selection.get("golden", {})
    uses = {"train": "training", "heldout": "validation"}
    return [
        *(
            DataSet(f"{name}.jsonl", digests[name], f"{work_url}/select/{name}.jsonl", use)
            for name, use in uses.items()
        ),
        DataSet(
            str(chosen.get("name") or "golden"),
            candidate.decision.golden_digest,
            str(chosen.get("uri") or golden),
            "evaluation",
        ),
    ]


def item_rows(
    candidate: Iterable[Mapping[str, Any]],
    production: Iterable[Mapping[str, Any]],
    questions: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return a row for each golden item: both answers and their metrics side by side.

    questions: by id of the item, as far as they are known.
    """
    theirs = {row["id"]: row for row in production}
    return [
        {
            "id": row["id"],
            "document": row["cluster"],
            **{name: value for name, value in (row.get("slices") or {}).items() if value},
            **_named("question", questions.get(row["id"])),
            "answer": row["answer"],
            **row["metrics"],
            "latencyMs": row.get("latencyMs"),
            **_prefixed("production", theirs.get(row["id"])),
        }
        for row in candidate
    ]


def _named(name: str, text: str | None) -> dict[str, str]:
    return {name: text} if text else {}


def _prefixed(prefix: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    metrics = {f"{prefix}.{name}": value for name, value in row["metrics"].items()}
    return {f"{prefix}.answer": row["answer"], **metrics}


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Yield each leaf of nested JSON by its path; lists are leaves, what is not set is left out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}".strip("."))
    elif value is not None:
        yield path, compact(value) if isinstance(value, list | bool) else value
