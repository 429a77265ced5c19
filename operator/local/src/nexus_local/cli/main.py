"""The `nexus` command line: an index of its verbs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from nexus_local.cli import (
    apply,
    ask,
    demo,
    doctor,
    documents,
    evaluate,
    experiments,
    golden,
    logs,
    show,
    tuning,
    up,
    wait,
)
from nexus_local.cli.errors import CliError, UsageError

app = typer.Typer(
    name="nexus",
    help="LLMOps Nexus: declare indexes and models, drop documents in, get cited answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS: tuple[Callable[..., Any], ...] = (
    demo.demo,
    up.up,
    apply.apply,
    show.get,
    show.describe,
    apply.delete,
    wait.wait,
    logs.logs,
    logs.runs,
    tuning.run,
    tuning.cancel,
    tuning.promote,
    tuning.rollback,
    evaluate.evaluate,
    experiments.diff,
    golden.golden,
    documents.ingest,
    documents.documents,
    ask.ask,
    ask.search,
    doctor.doctor,
)
for verb in VERBS:
    app.command()(verb)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"nexus {version('nexus-local')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Retrieval-augmented chat on open models, on one machine or a cluster."""


def main() -> None:
    """Run one command: exit code 0 done, 1 failed, 2 wrong usage."""
    errors = Console(stderr=True)
    try:
        app()
    except UsageError as error:
        errors.print("[bold red]usage:[/] ", end="")
        errors.print(str(error), markup=False, highlight=False)
        sys.exit(2)
    except CliError as error:
        errors.print("[bold red]error:[/] ", end="")
        errors.print(str(error), markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
