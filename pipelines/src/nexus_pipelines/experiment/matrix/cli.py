"""`nexus-pipelines experiment`: a matrix of ways to answer, over one golden set."""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from nexus_evaluation.experiment import Arm, gains, render
from nexus_evaluation.golden import GoldenSet, read
from nexus_evaluation.results import means
from nexus_knowledge.objects import open_store
from nexus_knowledge.reports import Report
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError
from nexus_pipelines.experiment.matrix.asking import ANSWER_SECONDS, Gateway
from nexus_pipelines.experiment.matrix.core import answered, answering, run_name
from nexus_pipelines.experiment.matrix.plan import Matrix, Prompt, Way, read_matrix, ways
from nexus_pipelines.experiment.matrix.track import Record
from nexus_pipelines.finetune.store import compact
from nexus_registry import Connection

_LARGEST = 64 << 20  # bytes of a file that the matrix names
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--namespace", required=True, help="namespace of the models")
    parser.add_argument("--gateway", required=True, help="address of the gateway")
    parser.add_argument("--matrix", required=True, help="file with the matrix, JSON")
    parser.add_argument("--folder", required=True, help="where files that it names lie")
    parser.add_argument("--group", required=True, help="name of this experiment")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an experiment that was interrupted"
    )
    parser.add_argument("--experiment-out", required=True, help="file for what came of it, JSON")


def run(args: argparse.Namespace) -> None:
    """Do it.  A run is tracked once all its items are answered, so none is tracked in part."""
    if not _GROUP.fullmatch(args.group):
        raise UsageError(f"--group {args.group!r} is no name of an experiment")
    environment, folder = Environment(), Path(args.folder)
    matrix = read_matrix(json.loads(_file(folder, args.matrix)))
    golden = _golden(folder, matrix)
    systems = {prompt: _system(folder, prompt) for prompt in matrix.prompts}
    record = Record(
        Connection(environment.tracking_url), args.namespace, args.group, golden, datetime.now(UTC)
    )
    if args.resume and not record.begun():
        raise UsageError(f"--resume: no run of an experiment {args.group} is tracked")
    arms: list[Arm] = []
    with _gateway(args.gateway) as gateway:
        plan = ways(matrix, gateway.indexes())
        for way in plan:
            system = systems[way.prompt] if way.prompt else ""
            if args.resume and (known := record.finished(way, matrix, system)):
                arms.append(known)
                continue
            _tell(way, len(plan), args.group)
            answer = answering(gateway, way, system, max_tokens=matrix.max_tokens)
            arm = answered(way, golden.items, answer, group=args.group)
            arms.append(arm)
            record.arm(way, arm, matrix, system, gains(arms, matrix.metric).get(arm.run))
    page = render(f"Experiment {args.group}", golden, arms, matrix.metric)
    report = _publish(environment, args, page)
    record.report(page)
    write_output(args.experiment_out, compact(_told(arms, matrix.metric, report)))


def _told(arms: list[Arm], metric: str, report: str) -> dict[str, Any]:
    found = gains(arms, metric)
    return {
        "metric": metric,
        "items": len(arms[0].results),
        "report": report,
        "runs": [
            {
                "run": arm.run,
                "model": arm.model,
                "prompt": arm.prompt,
                "retrieval": arm.retrieval,
                "means": means(arm.results),
                "p50": arm.latency.p50 if arm.latency else None,
                "refused": len(arm.refused),
                "gain": found[arm.run].by if arm.run in found else None,
                "lower": found[arm.run].lower if arm.run in found else None,
                "upper": found[arm.run].upper if arm.run in found else None,
            }
            for arm in arms
        ],
    }


def _publish(environment: Environment, args: argparse.Namespace, page: str) -> str:
    """Put the report where the gateway shows it; return its path there, empty for nowhere."""
    work = environment.find_work_url()
    if not work:
        return ""
    report, content = Report(args.namespace, args.group), page.encode()
    open_store(work).put(report.key, io.BytesIO(content), size=len(content))
    return report.path


def _golden(folder: Path, matrix: Matrix) -> GoldenSet:
    return read(_file(folder, matrix.golden_set), matrix.golden_set)


def _system(folder: Path, prompt: Prompt) -> str:
    if not prompt.file:
        return prompt.system
    try:
        return _file(folder, prompt.file).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"prompt {prompt.name}: {prompt.file} is not UTF-8 text") from error


def _file(folder: Path, name: str) -> bytes:
    """Read a file, beside the matrix or at a file:// address.  Raises UsageError."""
    place = Path(url2pathname(urlsplit(name).path)) if name.startswith("file://") else folder / name
    try:
        with place.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise UsageError(f"{place} has more than {_LARGEST >> 20} MiB")
    return content


@contextmanager
def _gateway(url: str) -> Iterator[Gateway]:
    key = os.environ.get("NEXUS_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=5.0)
    with httpx.Client(base_url=url, headers=headers, timeout=timeout) as http:
        yield Gateway(http)


def _tell(way: Way, of: int, group: str) -> None:
    what = " · ".join(filter(None, [way.model, way.prompt.name if way.prompt else ""]))
    sys.stderr.write(
        f"{run_name(group, way.number)} ({way.number + 1} of {of}): {what or 'baseline'}, "
        f"{way.searches}\n"
    )
    sys.stderr.flush()
