"""`nexus-pipelines finetune-select`: choose examples, hold some out, settle the golden set."""

import argparse
import sys
from datetime import datetime, timedelta
from typing import Any

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_evaluation.golden import GoldenSet, write
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError
from nexus_pipelines.finetune.arguments import (
    JobKey,
    add_production,
    add_run,
    job_key,
    job_settings,
    production_unit,
    run_store,
)
from nexus_pipelines.finetune.bounds import Stores, check_bounds
from nexus_pipelines.finetune.declared import demand_facts
from nexus_pipelines.finetune.judge.demand import demanded_judge
from nexus_pipelines.finetune.learnt import write_learnt
from nexus_pipelines.finetune.seen import write_seen
from nexus_pipelines.finetune.select.core import Plan, choose
from nexus_pipelines.finetune.select.examples import to_row, utc_text
from nexus_pipelines.finetune.select.golden import open_golden
from nexus_pipelines.finetune.select.prompts import Asking
from nexus_pipelines.finetune.select.report import selection_document, summary
from nexus_pipelines.finetune.select.sources import gather
from nexus_pipelines.finetune.store import FineTuneStore, compact, inputs_digest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    parser.add_argument("--as-of", required=True, help="when the run was made, RFC 3339")
    add_production(parser)
    parser.add_argument("--selection-out", required=True, help="file for counts and digests, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step."""
    environment = Environment()
    key, spec, production = job_key(args), job_settings(args), production_unit(args)
    as_of, asking = moment(args.as_of), Asking.of(production)
    for field, uri in {
        "baseModel.uri": spec.base_model.uri,
        "the base of what serves now": production.base if production else "",
    }.items():
        if uri:
            check_bounds(field, uri, key.tenant, **_stores(environment))
    store = run_store(args, environment)
    inputs = inputs_digest(
        uid=args.uid,
        as_of=utc_text(as_of),
        asking=list(asking),
        spec=spec.model_dump(mode="json", by_alias=True),
    )
    outcome = store.outcome("select", inputs)
    if outcome is None:
        outcome = select(key, args.uid, spec, as_of, asking, store, environment)
        store.finish("select", inputs, outcome)
        store.clean_up(keep=spec.runs_kept)
    write_output(args.selection_out, compact(outcome))


def select(
    key: JobKey,
    uid: str,
    spec: FineTuneJobSpec,
    as_of: datetime,
    asking: Asking,
    store: FineTuneStore,
    environment: Environment,
) -> dict[str, Any]:
    """Choose and store what the run learns from; return counts and digests."""
    uri = spec.evaluation.golden_set or ""
    named = named_golden(key, spec, environment)
    plan = plan_of(spec, as_of)
    gathered = gather(key, uid, spec.data, store, environment, as_of, asking)
    items = named.items if named else None
    selection = choose(gathered.examples, items, plan, gathered.learnt)
    golden = named or GoldenSet(selection.golden, f"{key.tenant}/{key.name} held out", plan.as_of)
    demanded_judge(spec, golden.items)  # what cannot be measured need not be trained
    demand_facts(spec, golden.items)
    train = store.put_lines("select/train.jsonl", map(to_row, selection.train))
    heldout = store.put_lines("select/heldout.jsonl", map(to_row, selection.heldout))
    store.put_text("select/golden.jsonl", write(golden).decode())
    store.put_lines("select/objects.jsonl", gathered.reading.objects)
    write_seen(store, selection.seen)
    write_learnt(store, gathered.learnt)
    document = selection_document(selection, gathered, golden, plan, uid=uid, golden_uri=uri)
    digests = {"train": train.digest, "heldout": heldout.digest, "golden": golden.digest}
    digest = inputs_digest(**digests)
    store.put_json("select/selection.json", {**document, "digests": digests, "digest": digest})
    sys.stderr.write(f"{summary(document)}\n")
    return {
        "train": train.lines,
        "heldout": heldout.lines,
        "golden": len(golden.items),
        "goldenDigest": golden.digest,
        "digest": digest,
    }


def moment(text: str) -> datetime:
    """Read a time; one that is given to the second stands for that whole second.

    Raises:
        UsageError: it is none, or without a zone.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--as-of {text!r} is no time such as 2026-05-01T08:00:00Z") from error
    if found.tzinfo is None:
        raise UsageError(f"--as-of {text!r} has no zone; write 2026-05-01T08:00:00Z")
    return found if found.microsecond else found + timedelta(microseconds=999_999)


def plan_of(spec: FineTuneJobSpec, as_of: datetime) -> Plan:
    """Return what a spec asks of a selection as of a moment."""
    return Plan(
        seed=spec.lora.seed,
        as_of=utc_text(as_of),
        validation_percent=spec.data.validation_percent,
        curated_percent=spec.data.curated.percent if spec.data.curated else 0,
        older_percent=spec.data.older_percent,
    )


def named_golden(key: JobKey, spec: FineTuneJobSpec, environment: Environment) -> GoldenSet | None:
    """Open the golden set that a spec names; None when it names none."""
    uri = spec.evaluation.golden_set
    return open_golden(uri, key.tenant, **_stores(environment)) if uri else None


def _stores(environment: Environment) -> Stores:
    """Return what `check_bounds` must know of the platform."""
    return {
        "bucket_url": environment.bucket_url,
        "closed": [environment.work_url, environment.models_url],
        "shared": environment.shared_buckets,
    }
