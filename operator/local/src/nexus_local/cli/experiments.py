"""`nexus diff`: what got better and what got worse between two runs, item by item."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from nexus_local.cli.errors import UsageError
from nexus_local.cli.steps import run_step
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target, connected

console = Console()
_ANSWER = 72  # characters of an answer or a question, so that a line has at most 80
_RUN_HELP = "A run, as RUN or JOB/RUN; with @production what it was compared with."


@connected
def diff(
    target: Target,
    before: Annotated[str, typer.Argument(help=_RUN_HELP)],
    after: Annotated[str, typer.Argument(help=_RUN_HELP)],
    metric: Annotated[str, typer.Option(help="What to compare by; f1 by default.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Items of each kind to print.")] = 10,
    output: Annotated[str, typer.Option("-o", help="json for all of it.")] = "",
) -> None:
    """Tell what got better and what got worse from one run to another, item by item."""
    if output not in ("", "json"):
        raise UsageError(f"-o {output!r} is not known: use json, or leave it out")
    found = run_step(
        target,
        "run-diff",
        f"--namespace={target.namespace}",
        f"--before={before}",
        f"--after={after}",
        f"--metric={metric}",
        out="--diff-out",
    )
    if output == "json":
        console.out(json.dumps(found, indent=2, ensure_ascii=False), highlight=False)
        return
    for line in summary(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    heads = ("METRIC", "BEFORE", "AFTER", "CHANGE")
    print_table(console, heads, metric_rows(found["means"]))
    for kind in ("better", "worse", "reworded"):
        for line in listed(kind, found[kind], limit):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(found: Mapping[str, Any]) -> Iterator[str]:
    """Say in a line or two what the comparison came to."""
    counts = [f"{len(found[kind])} {kind}" for kind in ("better", "worse", "reworded")]
    counts.append(f"{found['same']} the same")
    yield f"{found['items']} items by {found['metric']}: {', '.join(counts)}"
    for side, name in (("onlyBefore", found["before"]), ("onlyAfter", found["after"])):
        if found[side]:
            yield f"{len(found[side])} more items are in {name} alone and not compared"


def metric_rows(means: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Return the rows of the table of means."""
    return [
        [name, f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"]
        for name, (before, after) in means.items()
    ]


def listed(kind: str, changes: Sequence[Mapping[str, Any]], limit: int) -> Iterator[str]:
    """Write the items of one kind, the largest change first."""
    if not changes or not limit:
        return
    yield ""
    yield f"{kind.upper()} ({len(changes)})"
    for one in changes[:limit]:
        yield f"{one['by']:+.3f}  {short(one['question'] or one['id'])}"
        if one["question"]:
            yield f"        item   {short(one['id'], _ANSWER - 7)}"
        yield f"        before {short(one['answerBefore'], _ANSWER - 7)}"
        yield f"        after  {short(one['answerAfter'], _ANSWER - 7)}"
    if len(changes) > limit:
        yield f"        and {len(changes) - limit} more (--limit, or -o json)"


def short(text: str, longest: int = _ANSWER) -> str:
    """Return a text on one line, cut to so many characters, nothing in it unprintable."""
    line = " ".join(text.split())
    line = "".join(one if one.isprintable() else "�" for one in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
