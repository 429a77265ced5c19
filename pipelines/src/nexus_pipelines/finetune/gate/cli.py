"""`nexus-pipelines finetune-gate`: may the candidate replace production?"""

import argparse
import sys
from typing import Any

from nexus_knowledge.objects import open_store
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import (
    add_run,
    job_key,
    job_settings,
    run_name,
    run_store,
)
from nexus_pipelines.finetune.gate.core import Case, gather
from nexus_pipelines.finetune.gate.looks import Looks
from nexus_pipelines.finetune.store import FineTuneStore, compact

_STEP = "gate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    parser.add_argument(
        "--blocked", default="", help="why a person must be asked before a promotion; empty if not"
    )
    parser.add_argument("--decision-out", required=True, help="file for the decision, JSON")
    parser.add_argument("--verdict-out", default="", help="file for the verdict, one word")


def run(args: argparse.Namespace) -> None:
    """Do the step; what is decided already, on the same results, is only told again.

    A verdict is no failure: the step ends well whatever it decides.
    """
    environment, key = Environment(), job_key(args)
    store = run_store(args, environment)
    case = gather(store, job_settings(args), args.blocked)
    outcome = store.outcome(_STEP, case.inputs)
    if outcome is None:
        work = open_store(environment.work_url)
        looks = Looks(work, key, run_name(args), case.golden.digest)
        outcome = _decide(case, looks, store, title=f"{key}, run {run_name(args)}")
    sys.stderr.write(f"{outcome['verdict']} ({outcome['reason']}): {outcome['message']}\n")
    write_output(args.decision_out, compact(outcome))
    if args.verdict_out:
        write_output(args.verdict_out, str(outcome["verdict"]))


def _decide(case: Case, looks: Looks, store: FineTuneStore, *, title: str) -> dict[str, Any]:
    decision = case.decide(looks.book(case.inputs, case.level))
    # What is spent is on record before anybody can learn the verdict.
    looks.settle(case.inputs, decision.alpha.spent)
    store.put_text("gate/report.html", case.report(decision, title))
    store.put_json("gate/decision.json", decision.model_dump(mode="json", by_alias=True))
    outcome = decision.summary()
    store.finish(_STEP, case.inputs, outcome)
    return outcome
