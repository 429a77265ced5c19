"""`nexus golden`: the golden sets of a namespace, and corrections that become items of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from nexus_local.cli.errors import UsageError
from nexus_local.cli.experiments import short
from nexus_local.cli.steps import run_step
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target, connected

console = Console()
_DIGEST = 19  # characters of a digest: sha256: and twelve more
_LINE = 67  # characters of a question or a correction, so that a line has at most 80


class Action(StrEnum):
    """What can be done."""

    ADD = "add"
    FEEDBACK = "feedback"
    LIST = "list"


@connected
def golden(
    target: Target,
    action: Annotated[Action, typer.Argument(help="add, feedback or list")],
    responses: Annotated[
        list[str] | None, typer.Argument(help="For add: ids of corrected answers.")
    ] = None,
    name: Annotated[str, typer.Option("--set", help="For add: the set; made if new.")] = "",
    topic: Annotated[str, typer.Option(help="For add: a group that is reported apart.")] = "",
    facts: Annotated[
        list[str] | None,
        typer.Option("--fact", help="For add: what every right answer holds; again for more."),
    ] = None,
) -> None:
    """Promote corrected answers into a golden set; list the sets, and what may be promoted."""
    if action is not Action.ADD and (responses or name or topic or facts):
        raise UsageError(f"nexus golden {action.value} takes no more words and no options of add")
    if action is Action.ADD:
        _add(target, responses or [], name, topic, facts or [])
    elif action is Action.LIST:
        _list(target)
    else:
        _feedback(target)


def _add(target: Target, responses: list[str], name: str, topic: str, facts: list[str]) -> None:
    """Write the set's next version; the one before stays as it is."""
    if not responses or not name:
        raise UsageError(
            "nexus golden add RESPONSE... --set NAME; `nexus golden feedback` lists the responses"
        )
    run_step(
        target,
        "golden-add",
        f"--namespace={target.namespace}",
        *(f"--response={one}" for one in responses),
        f"--set={name}",
        f"--topic={topic}",
        *(f"--fact={one}" for one in facts),
    )


def _list(target: Target) -> None:
    rows = [
        [
            one["set"],
            str(one["version"]),
            "" if one["items"] is None else str(one["items"]),
            one["digest"][:_DIGEST],
            one["problem"] or one["uri"],
        ]
        for one in _found(target)["sets"]
    ]
    print_table(console, ("SET", "VERSION", "ITEMS", "DIGEST", "URI"), rows)


def _feedback(target: Target) -> None:
    for one in _found(target)["corrections"]:
        lines = (
            one["response"],
            f"  asked      {short(one['question'], _LINE)}",
            f"  corrected  {short(one['correction'], _LINE)}",
        )
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _found(target: Target) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = run_step(
        target, "golden-list", f"--namespace={target.namespace}", out="--golden-out"
    )
    return found
