"""`nexus-pipelines run-diff`: two runs, item by item, as JSON."""

import argparse
import math
from typing import Any

from nexus_evaluation.diff import Change, diff
from nexus_evaluation.metrics import LOWER_IS_BETTER
from nexus_evaluation.results import means
from nexus_knowledge.objects import open_store
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError
from nexus_pipelines.experiment.stored import (
    RunName,
    RunUnknown,
    Stored,
    from_tracking,
    from_work,
)
from nexus_pipelines.finetune.store import compact
from nexus_registry import Connection, Reader

PREFERRED = ("f1", "exactMatch", "rougeL")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--namespace", required=True, help="namespace of the runs")
    parser.add_argument("--before", required=True, help="[JOB/]RUN[@production]")
    parser.add_argument("--after", required=True, help="[JOB/]RUN[@production]")
    parser.add_argument("--metric", default="", help="what to compare by; f1 where both have it")
    parser.add_argument("--diff-out", required=True, help="file for what changed, JSON")


def run(args: argparse.Namespace) -> None:
    """Do it."""
    names = [RunName.parse(text) for text in (args.before, args.after)]
    before, after = (_stored(Environment(), args.namespace, name) for name in names)
    metric = args.metric or _metric(before, after)
    write_output(args.diff_out, compact(compared(before, after, metric)))


def compared(before: Stored, after: Stored, metric: str) -> dict[str, Any]:
    """Return what changed from one run to the other; where lower is better, lower is better.

    Raises:
        UsageError: the metric is not one of both runs.
        RunUnknown: they have no item in common.
    """
    common = sorted(_metrics(before) & _metrics(after))
    if metric not in common:
        raise UsageError(f"--metric {metric!r}: both runs have {', '.join(common) or 'none'}")
    found = diff(before.results, after.results, metric)
    items = len(found.better) + len(found.worse) + len(found.reworded) + found.same
    if not items:
        raise RunUnknown(f"{before.name} and {after.name} have no item in common")
    better, worse = found.better, found.worse
    if metric in LOWER_IS_BETTER:
        better, worse = worse, better
    questions = {**before.questions, **after.questions}
    shared = {one.id for one in before.results} & {one.id for one in after.results}
    averages = [
        means(one for one in stored.results if one.id in shared) for stored in (before, after)
    ]
    return {
        "before": before.name,
        "after": after.name,
        "metric": metric,
        "items": items,
        "same": found.same,
        "means": {name: [averages[0][name], averages[1][name]] for name in common},
        "better": [_told(one, questions) for one in better],
        "worse": [_told(one, questions) for one in worse],
        "reworded": [_told(one, questions) for one in found.reworded],
        "onlyBefore": list(found.only_before),
        "onlyAfter": list(found.only_after),
    }


def _told(change: Change, questions: dict[str, str]) -> dict[str, Any]:
    return {
        "id": change.id,
        "question": questions.get(change.id, ""),
        "before": change.before,
        "after": change.after,
        "by": change.by,
        "answerBefore": change.answer_before,
        "answerAfter": change.answer_after,
    }


def _metric(before: Stored, after: Stored) -> str:
    common = _metrics(before) & _metrics(after)
    return next((one for one in PREFERRED if one in common), next(iter(sorted(common)), "f1"))


def _metrics(stored: Stored) -> set[str]:
    return {name for name, mean in means(stored.results).items() if math.isfinite(mean)}


def _stored(environment: Environment, namespace: str, name: RunName) -> Stored:
    work = environment.find_work_url()
    found = from_work(open_store(work), namespace, name) if work else None
    if found is None:
        reader = Reader(Connection(environment.tracking_url))
        found = from_tracking(reader, namespace, name)
    if found is None:
        raise RunUnknown(
            f"namespace {namespace} has no run {name} with results; `nexus runs` lists those of a "
            "FineTuneJob, and `nexus evaluate` prints those that it made"
        )
    return found
