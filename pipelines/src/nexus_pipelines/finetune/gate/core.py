"""What the gate of a run stands on: the golden set, both sides' results, the policy."""

from dataclasses import dataclass, field

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_evaluation.decision import Decision
from nexus_evaluation.gate import GoldenKey, decide
from nexus_evaluation.golden import GoldenSet
from nexus_evaluation.observed import Observed
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.report import render
from nexus_evaluation.results import ItemResult, results_digest
from nexus_evaluation.results import read as read_results
from nexus_pipelines.finetune.selected import golden_set
from nexus_pipelines.finetune.store import FineTuneStore, inputs_digest

EVALUATION = "evaluate/evaluation.json"
_MAKER = 2
"""Rises when the same results would be judged otherwise."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision follows from, but for what was spent before."""

    policy: GatePolicy
    golden: GoldenSet
    candidate: tuple[ItemResult, ...]
    production: tuple[ItemResult, ...] | None
    blocked: str
    observed: Observed = field(default_factory=Observed)  # shown, and no part of the decision

    @property
    def inputs(self) -> str:
        """Name it all by one digest."""
        production = None if self.production is None else results_digest(self.production)
        return inputs_digest(
            maker=_MAKER,
            policy=self.policy.model_dump(mode="json"),
            golden=self.golden.digest,
            candidate=results_digest(self.candidate),
            production=production,
            blocked=self.blocked,
        )

    @property
    def level(self) -> float:
        """The level that the decision tests at."""
        return self.policy.alpha / self.policy.decisions

    def decide(self, before: float) -> Decision:
        """Decide, after earlier decisions have spent ``before``."""
        return decide(
            self.policy,
            GoldenKey.of(self.golden),
            self.candidate,
            self.production,
            spent=[before],
            blocked=self.blocked,
        )

    def report(self, decision: Decision, title: str) -> str:
        """Write the report as HTML."""
        return render(
            decision,
            self.golden.items,
            self.candidate,
            self.production,
            title=title,
            observed=self.observed,
        )


def gather(store: FineTuneStore, spec: FineTuneJobSpec, blocked: str) -> Case:
    """Read what the earlier steps of the run stored.

    Raises:
        RunObjectMissing: a step has not ended well.
        EvaluationError: something they stored cannot be read, or the policy contradicts itself.
    """
    evaluation = spec.evaluation.model_dump(mode="json", by_alias=True)
    # Which sides there are follows from the evaluation, not from which files lie about.
    compared = store.json("evaluate/units.json").get("production") is not None
    return Case(
        policy=GatePolicy.from_spec(evaluation),
        golden=golden_set(store),
        candidate=_results(store, "candidate"),
        production=_results(store, "production") if compared else None,
        blocked=blocked,
        observed=Observed.of(store.find_json(EVALUATION) or {}),
    )


def _results(store: FineTuneStore, side: str) -> tuple[ItemResult, ...]:
    name = f"evaluate/{side}.jsonl"
    return read_results(_bytes(store, name), name)


def _bytes(store: FineTuneStore, name: str) -> bytes:
    with store.open(name) as stream:
        return stream.read()
