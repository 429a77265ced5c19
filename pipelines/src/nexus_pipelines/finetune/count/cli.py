"""`nexus-pipelines finetune-count`: count the examples that a run would newly find.

Nothing is written but the answer, so it may be asked at any time and any number of times.
"""

import argparse
import sys

from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import (
    add_production,
    add_run,
    job_key,
    job_settings,
    production_unit,
    run_store,
)
from nexus_pipelines.finetune.seen import baseline
from nexus_pipelines.finetune.select.cli import moment, named_golden, plan_of
from nexus_pipelines.finetune.select.core import newly_found
from nexus_pipelines.finetune.select.prompts import Asking
from nexus_pipelines.finetune.select.sources import gather
from nexus_pipelines.finetune.store import compact, inputs_digest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    parser.add_argument("--as-of", required=True, help="when the count was asked for, RFC 3339")
    add_production(parser)
    parser.add_argument("--new-data-out", required=True, help="file for count and digest, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step: the same data gives the same count and the same digest."""
    environment = Environment()
    key, spec = job_key(args), job_settings(args)
    as_of, asking = moment(args.as_of), Asking.of(production_unit(args))
    last = baseline(run_store(args, environment), args.uid)
    named = named_golden(key, spec, environment)
    gathered = gather(key, args.uid, spec.data, None, environment, as_of, asking)
    found = newly_found(
        gathered.examples, named.items if named else None, plan_of(spec, as_of), last.seen
    )
    outcome = {
        "examples": len(found),
        "since": last.run,
        "digest": inputs_digest(said=sorted(one.said for one in found)),
    }
    since = f"since run {last.run}" if last.run else "and no run before"
    sys.stderr.write(f"{len(found)} new of {len(gathered.examples)} examples {since}\n")
    write_output(args.new_data_out, compact(outcome))
