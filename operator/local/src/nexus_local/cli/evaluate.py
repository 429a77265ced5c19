"""`nexus evaluate`: models, prompts and retrieval settings compared over one golden set."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.experiments import short
from nexus_local.cli.steps import run_step
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target, connected

console = Console()
_LARGEST = 1 << 20  # bytes of a matrix
_MODEL, _NAME = 16, 12  # characters in a table of 80


@connected
def evaluate(
    target: Target,
    matrix: Annotated[Path, typer.Option("--matrix", help="What is compared, YAML or JSON.")],
    name: Annotated[str, typer.Option(help="Name of the experiment; the file's by default.")] = "",
    resume: Annotated[
        str, typer.Option(help="Go on with an experiment that was interrupted, by its name.")
    ] = "",
    output: Annotated[str, typer.Option("-o", help="json for all of it.")] = "",
) -> None:
    """Compare models, prompts and retrieval settings over one golden set, beside a baseline."""
    if output not in ("", "json"):
        raise UsageError(f"-o {output!r} is not known: use json, or leave it out")
    if name and resume:
        raise UsageError("--resume has the experiment's name already; leave --name out")
    group = resume or group_name(name or matrix.stem, datetime.now(UTC))
    address = str(target.gateway().base_url) if target.context is None else ""
    with tempfile.TemporaryDirectory(prefix="nexus-") as scratch:
        copy = Path(scratch) / "matrix.json"
        copy.write_text(json.dumps(read_matrix(matrix)), encoding="utf-8")
        try:
            found = run_step(
                target,
                "experiment",
                f"--namespace={target.namespace}",
                f"--gateway={address}",
                f"--matrix={copy}",
                f"--folder={matrix.resolve().parent}",
                f"--group={group}",
                *(["--resume"] if resume else []),
                out="--experiment-out",
                keep=("NEXUS_API_KEY",),
            )
        except KeyboardInterrupt:
            raise CliError(
                f"interrupted; what is finished is kept: the same with --resume {group} goes on"
            ) from None
    report = f"{address.rstrip('/')}{found['report']}" if found["report"] else ""
    if output == "json":
        whole = {**found, "experiment": group, "report": report}
        console.out(json.dumps(whole, indent=2, ensure_ascii=False), highlight=False)
        return
    heads = ("RUN", "MODEL", "PROMPT", "RETRIEVAL", found["metric"].upper()[:5], "GAIN", "P50 MS")
    table = rows(found["runs"], found["metric"])
    _say([f"{group}: {found['items']} items by {found['metric']}; runs are {group}.RUN"])
    print_table(console, heads, table)
    if any(told.endswith("*") for row in table for told in row):
        _say(["* its interval of 95 %, taken alone, does not reach zero"])
    if report:
        _say([f"report: {report}"])


def read_matrix(path: Path) -> Any:
    """Read a file as data.  Raises UsageError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise UsageError(f"{path} has more than {_LARGEST >> 20} MiB")
    try:
        value = yaml.safe_load(content)
        json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: {str(error).splitlines()[0]}") from error
    return value


def group_name(name: str, now: datetime) -> str:
    """Return the name of an experiment: what it is called, and when it began."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:40] or "experiment"
    return f"{plain}-{now:%Y%m%d-%H%M%S}"


def rows(runs: Sequence[Mapping[str, Any]], metric: str) -> list[list[str]]:
    """Return the rows of the table, the number alone for a run's name."""
    return [
        [
            str(one["run"]).rpartition(".")[2],
            short(one["model"], _MODEL),
            short(one["prompt"] or "-", _NAME),
            short(one["retrieval"], _NAME),
            f"{one['means'][metric]:.3f}",
            _gain(one),
            "-" if one["p50"] is None else f"{one['p50']:.0f}",
        ]
        for one in runs
    ]


def _gain(one: Mapping[str, Any]) -> str:
    if one["gain"] is None:
        return "-"
    sure = one["lower"] is not None and (one["lower"] > 0 or one["upper"] < 0)
    return f"{one['gain']:+.3f}{'*' if sure else ''}"


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
