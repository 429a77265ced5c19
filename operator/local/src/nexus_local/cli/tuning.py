"""`nexus run`, `cancel`, `promote` and `rollback`: what a person asks of a FineTuneJob."""

from __future__ import annotations

import getpass
import re
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from nexus_api.meta import (
    CANCEL_REQUESTED,
    PROMOTE_REQUESTED,
    ROLLBACK_REQUESTED,
    RUN_REQUESTED,
    Manifest,
)
from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.kinds import find_kind, split_target
from nexus_local.cli.target import Target, connected

console = Console()
Job = Annotated[str, typer.Argument(help="The FineTuneJob, as NAME or finetunejob/NAME.")]
By = Annotated[str, typer.Option(help="Who asks; your user name by default.")]
_LONGEST_PERSON = 90  # characters; with " at " and the time it stays within the registry's 128


@connected
def run(
    target: Target,
    what: Annotated[list[str], typer.Argument(help="finetunejob/NAME")],
    by: By = "",
) -> None:
    """Ask for a run of a FineTuneJob now, whatever its schedule and cooldown."""
    kind, names = split_target(what)
    if kind.name != "FineTuneJob" or len(names) != 1:
        raise UsageError("name one finetunejob, as finetunejob/NAME")
    who = re.sub(r"[^A-Za-z0-9._-]+", "-", _person(by))
    _ask(target, names[0], {RUN_REQUESTED: f"{who}-{_now()}"}, "run requested")


@connected
def cancel(
    target: Target,
    what: Annotated[list[str], typer.Argument(help="finetunejob/NAME")],
) -> None:
    """End the run of a FineTuneJob that is under way."""
    kind, names = split_target(what)
    if kind.name != "FineTuneJob" or len(names) != 1:
        raise UsageError("name one finetunejob, as finetunejob/NAME")
    running = (_status(target, names[0]).get("lastRun") or {}).get("phase")
    if running not in {"Starting", "Pending", "Running"}:
        raise CliError(f"finetunejob {names[0]} has no run under way")
    _ask(target, names[0], {CANCEL_REQUESTED: _now()}, "cancellation requested")


@connected
def promote(
    target: Target,
    job: Job,
    version: Annotated[
        str, typer.Option(help="Its number; the version that was registered last by default.")
    ] = "",
    by: By = "",
) -> None:
    """Make a registered version the champion, which ServingModels that name it roll to."""
    name = _name(job)
    status = _status(target, name)
    version = version or str(status.get("registeredVersion") or "")
    if not version:
        raise CliError(f"finetunejob {name} has no registered version yet")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise UsageError(f"--version {version!r} is no number of a version")
    _refuse_pinned(target, name)
    wish = f"{version} by {_person(by)} at {_now()}"
    _ask(target, name, {PROMOTE_REQUESTED: wish}, f"promotion of version {version} requested")


@connected
def rollback(target: Target, job: Job, by: By = "") -> None:
    """Make the version before the champion the champion again."""
    name = _name(job)
    previous = (_status(target, name).get("previous") or {}).get("version")
    if not previous:
        raise CliError(f"finetunejob {name} has no version to go back to")
    _refuse_pinned(target, name)
    wish = f"by {_person(by)} at {_now()}"
    _ask(target, name, {ROLLBACK_REQUESTED: wish}, f"rollback to version {previous} requested")


def _name(job: str) -> str:
    if "/" not in job:
        return job
    kind, names = split_target([job])
    if kind.name != "FineTuneJob":
        raise UsageError(f"{job} is no finetunejob")
    return names[0]


def _status(target: Target, name: str) -> Manifest:
    found = target.kube().get(find_kind("finetunejob"), target.namespace, name)
    status: Manifest = found.get("status") or {}
    return status


def _refuse_pinned(target: Target, name: str) -> None:
    found = target.kube().get(find_kind("finetunejob"), target.namespace, name)
    pinned = (found["spec"].get("promotion") or {}).get("pinnedVersion")
    if pinned:
        raise CliError(
            f"finetunejob {name} is pinned to version {pinned} by spec.promotion.pinnedVersion: "
            "change it there"
        )


def _ask(target: Target, name: str, notes: dict[str, str], done: str) -> None:
    kind = find_kind("finetunejob")
    target.kube().annotate(kind, target.namespace, name, notes)
    console.print(f"{kind.display}/{name} {done}", markup=False, highlight=False)


def _person(by: str) -> str:
    """Who asks, in one line that is not too long."""
    if not by:
        try:
            by = getpass.getuser()
        except (OSError, KeyError):
            by = "somebody"
    words = "".join(one if one.isprintable() else " " for one in by).strip()
    return words[:_LONGEST_PERSON] or "somebody"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
