"""`nexus-pipelines finetune-evaluate`: candidate and production answer the golden set."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.release import ReleasableUnit
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics.support import Embed
from nexus_evaluation.results import write
from nexus_knowledge.embedding import EmbedderClient
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import (
    add_production,
    add_run,
    job_settings,
    production_unit,
    run_store,
)
from nexus_pipelines.finetune.declared import demand_facts
from nexus_pipelines.finetune.evaluate.adapters import prepare
from nexus_pipelines.finetune.evaluate.asking import asker
from nexus_pipelines.finetune.evaluate.bases import base_digest, base_licence
from nexus_pipelines.finetune.evaluate.behaviour import behaviour, probes
from nexus_pipelines.finetune.evaluate.core import (
    Reply,
    Side,
    ask_all,
    assess,
    candidate_unit,
    report,
    wanted_metrics,
)
from nexus_pipelines.finetune.evaluate.engine import Served
from nexus_pipelines.finetune.evaluate.judging import judged_scores
from nexus_pipelines.finetune.evaluate.kept import Kept
from nexus_pipelines.finetune.evaluate.prompts import messages_for
from nexus_pipelines.finetune.evaluate.runtime import Runtime, serving
from nexus_pipelines.finetune.evaluate.sides import Sides
from nexus_pipelines.finetune.judge.access import Judge
from nexus_pipelines.finetune.judge.demand import demanded_judge, judged_metrics
from nexus_pipelines.finetune.judge.process import judge_python
from nexus_pipelines.finetune.selected import golden_set
from nexus_pipelines.finetune.store import FineTuneStore, compact, inputs_digest
from nexus_pipelines.finetune.train.machine import threads

_STEP = "evaluate"
_MAKER = 2
"""Rises when the same inputs would be asked or scored otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    add_production(parser)
    parser.add_argument(
        "--gpus", type=int, default=0, help="that share the weights, where the engine runs on GPUs"
    )
    parser.add_argument("--evaluation-out", required=True, help="file for the means, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step; what is done already, with the same inputs, is only told again."""
    signal.signal(signal.SIGTERM, _leave)
    environment, spec = Environment(), job_settings(args)
    production = production_unit(args)
    store = run_store(args, environment)
    golden = golden_set(store)
    judge = demanded_judge(spec, golden.items)
    demand_facts(spec, golden.items)
    inputs = inputs_digest(
        maker=_MAKER,
        golden=golden.digest,
        production=production.digest() if production else None,
        base=spec.base_model.model_dump(mode="json"),
        adapter=store.json("train/training.json")["adapter"],
        metrics=wanted_metrics(spec),
        judge=judge and judge.told(),
    )
    outcome = store.outcome(_STEP, inputs)
    if outcome is None:
        step = _Evaluation(spec, store, environment, golden.items, judge, args.gpus)
        found = step.evaluate(production)
        store.put_json(
            "evaluate/evaluation.json",
            {
                **found,
                "golden": {
                    "name": golden.name, "version": golden.version, "digest": golden.digest,
                },
                "inputs": inputs,
            },
        )  # fmt: skip
        outcome = {"items": found["items"], "metrics": found["metrics"]}
        store.finish(_STEP, inputs, outcome)
    write_output(args.evaluation_out, compact(outcome))


class _Evaluation:
    """One run of the step."""

    def __init__(
        self,
        spec: FineTuneJobSpec,
        store: FineTuneStore,
        environment: Environment,
        items: Sequence[GoldenItem],
        judge: Judge | None,
        gpus: int,
    ) -> None:
        self._spec, self._store, self._environment = spec, store, environment
        self._items, self._probes = items, probes(items)
        self._judge = judge
        self._metrics = wanted_metrics(spec)
        self._threads, self._gpus = threads(), gpus
        self._base = ""
        self._licence: dict[str, str] | None = None
        self._behaviour: dict[str, list[dict[str, Any]]] = {}

    def evaluate(self, production: ReleasableUnit | None) -> dict[str, Any]:
        """Ask candidate and production, one after the other, and store what they answered."""
        if self._judge:
            judge_python()  # before hours of questions, not after them
        cache = self._environment.model_cache
        with tempfile.TemporaryDirectory(prefix="nexus-adapter-") as scratch, ExitStack() as stack:
            embed = self._embedder(stack)
            folder = Path(scratch)
            blank = candidate_unit(self._spec, production, "0" * 64)
            unit = candidate_unit(
                self._spec, production, prepare(self._store, blank, folder, cache)
            )
            # Production stands on the same.
            self._base, self._licence = base_digest(unit, cache), base_licence(unit, cache)
            served = {"candidate": Served(unit, scratch)}
            if production is not None:
                served["production"] = Served(production)
            sides = stack.enter_context(Sides(served, self._serving))
            measured = {name: self._side(name, one, embed, sides) for name, one in served.items()}
        units = {
            "candidate": unit.model_dump(mode="json", by_alias=True),
            "production": production and production.model_dump(mode="json", by_alias=True),
        }
        self._store.put_json("evaluate/units.json", units)
        digests = {"candidate": unit.digest(), "production": production and production.digest()}
        return {
            **report(measured["candidate"], measured.get("production")),
            "behaviour": self._behaviour,
            "units": digests,
            "baseDigest": self._base,
            "baseLicence": self._licence,
            "threads": self._threads,
            "judge": self._judge and self._judge.told(),
        }

    def _serving(self, units: Sequence[Served]) -> AbstractContextManager[tuple[Runtime, ...]]:
        cache = self._environment.model_cache
        return serving(units, cache=cache, threads=self._threads, gpus=self._gpus)

    def _side(self, name: str, served: Served, embed: Embed | None, sides: Sides) -> Side:
        replies = self._replies(name, served.unit, sides)
        metric = self._spec.evaluation.primary_metric
        self._behaviour[name] = behaviour(self._probes, self._items, replies, metric)
        side = assess(self._items, replies, self._metrics, embed, self._judged(replies))
        self._store.put_text(f"evaluate/{name}.jsonl", write(side.results).decode())
        return side

    def _judged(self, replies: dict[str, Reply]) -> dict[str, dict[str, float]]:
        if self._judge is None:
            return {}
        metrics = judged_metrics(self._spec)
        return judged_scores(self._store, self._judge, self._items, replies, metrics)

    def _replies(self, name: str, unit: ReleasableUnit, sides: Sides) -> dict[str, Reply]:
        items = [*self._items, *(probe.item for probe in self._probes)]
        asked_with = inputs_digest(
            unit=unit.digest(),
            base=self._base,
            items=[item.model_dump(mode="json") for item in items],
            threads=self._threads,
        )
        kept = Kept(self._store, f"answers/{name}-{asked_with[:16]}", Reply)
        known = kept.known()
        if all(item.id in known for item in items):
            return known
        sys.stderr.write(f"{name}: {len(known)} of {len(items)} questions answered before\n")
        with (
            sides.runtime(name) as runtime,
            asker(unit, runtime) as ask,
            kept.keeping(),
        ):
            return ask_all(
                items,
                known,
                lambda item: messages_for(item, unit, ask.counting),
                ask.answer,
                kept.keep,
            )

    def _embedder(self, stack: ExitStack) -> Embed | None:
        if "support" not in self._metrics:
            return None
        client = stack.enter_context(EmbedderClient(self._environment.embedder_url))
        return client.embed


def _leave(number: int, _frame: FrameType | None) -> None:
    """End as at the end of a block: the runtime is stopped, what was answered is kept."""
    raise SystemExit(128 + number)
