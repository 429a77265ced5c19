"""`nexus-pipelines finetune-validate`: judge the run's selection by its gates."""

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_evaluation.errors import BadGoldenSet, EmptyGoldenSet
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.policy import GatePolicy
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.arguments import add_run, job_key, job_settings, run_store
from nexus_pipelines.finetune.select.examples import Example, from_row
from nexus_pipelines.finetune.selected import golden_set
from nexus_pipelines.finetune.store import FineTuneStore, compact, inputs_digest
from nexus_pipelines.finetune.validate.core import Checked, Gate, failure, judge
from nexus_pipelines.finetune.validate.profile import REPORT, Length, profile
from nexus_pipelines.finetune.validate.tokenizer import token_counter


class GatesFailed(StepError):
    """The data did not pass; the message names the gates."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    parser.add_argument("--report-out", required=True, help="file for the gates' values, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step; the report is written before a gate that failed ends it."""
    environment = Environment()
    key, spec = job_key(args), job_settings(args)
    # A policy that the gate would refuse is told before hours of training, not after.
    GatePolicy.from_spec(spec.evaluation.model_dump(mode="json", by_alias=True))
    store = run_store(args, environment)
    selection = store.json("select/selection.json")
    inputs = inputs_digest(
        digest=selection["digest"],
        data=spec.data.model_dump(mode="json", by_alias=True),
        base=spec.base_model.model_dump(mode="json", by_alias=True),
        tokens=spec.lora.sequence_tokens,
    )
    outcome = store.outcome("validate", inputs)
    if outcome is None:
        gates = validate(spec, store, environment)
        outcome = _outcome(gates)
        for gate in gates:
            sys.stderr.write(
                f"{'passed' if gate.passed else 'FAILED'} {gate.name}: {gate.message}\n"
            )
        if failed := failure(gates):
            write_output(args.report_out, compact(outcome))
            raise GatesFailed(f"{key}: {failed}")
        store.finish("validate", inputs, outcome)
    write_output(args.report_out, compact(outcome))


def validate(spec: FineTuneJobSpec, store: FineTuneStore, environment: Environment) -> list[Gate]:
    """Judge the run's selection; store judgement and profile, and return the judgement."""
    base = spec.base_model
    count = token_counter(base.uri, base.revision, environment.find_model_cache())
    length = Length(spec.lora.sequence_tokens, count)
    checked = _read(store)
    seen = profile(checked.train, checked.heldout, checked.document, length)
    gates = judge(checked, spec.data.gates, seen)
    wanted = spec.evaluation.min_items
    store.put_json(
        REPORT,
        {
            "schema": 1,
            "passed": all(gate.passed for gate in gates),
            "gates": [{**gate.parameters, "message": gate.message} for gate in gates],
            "lengthBy": length.unit,
            "profile": seen.model_dump(mode="json", by_alias=True),
            "selection": checked.document["digest"],
        },
    )
    for name, value in seen.rows():
        sys.stderr.write(f"data: {name}: {value}\n")
    if len(checked.golden) < wanted:
        sys.stderr.write(
            f"note: the golden set has {len(checked.golden)} items and evaluation.minItems asks "
            f"for {wanted}: the gate will answer Underpowered\n"
        )
    return gates


def _outcome(gates: Iterable[Gate]) -> dict[str, Any]:
    judged = [gate.parameters for gate in gates]
    return {"passed": all(gate["passed"] for gate in judged), "gates": judged}


def _read(store: FineTuneStore) -> Checked:
    """Read what `select` wrote; count what cannot be read, or is not what it named."""
    document = store.json("select/selection.json")
    train, broken = _examples(store, "select/train.jsonl")
    heldout, more = _examples(store, "select/heldout.jsonl")
    golden, wrong = _golden(store)
    digests = document["digests"]
    named = {"train": "select/train.jsonl", "heldout": "select/heldout.jsonl"}
    changed = sum(store.digest(name) != digests[part] for part, name in named.items())
    return Checked(train, heldout, golden, document, broken + more + wrong + changed)


def _examples(store: FineTuneStore, name: str) -> tuple[list[Example], int]:
    found, broken = [], 0
    for row in store.lines(name):
        try:
            found.append(from_row(row))
        except (KeyError, TypeError, ValueError):
            broken += 1
    return found, broken


def _golden(store: FineTuneStore) -> tuple[tuple[GoldenItem, ...], int]:
    try:
        return golden_set(store).items, 0
    except EmptyGoldenSet:
        return (), 0  # no example was held out
    except BadGoldenSet:
        return (), 1
