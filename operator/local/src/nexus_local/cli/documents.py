"""`nexus ingest` and `nexus documents`: documents in, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.gateway import Gateway
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target, connected

Payload = dict[str, Any]
IndexOption = Annotated[str, typer.Option("--index", "-i", help="Name of the RagIndex.")]
BATCH_FILES = 32
BATCH_BYTES = 16 << 20
POLL_SECONDS = 0.4
FAILED_SHOWN = 20
console = Console()


def collect(paths: list[Path]) -> dict[str, Path]:
    """Files by document path: a folder's files keep their place below it, hidden ones are left.

    Raises:
        UsageError: a path does not exist, or two files would be one document.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = [
                p
                for p in sorted(path.rglob("*"))
                if p.is_file() and not any(s.startswith(".") for s in p.relative_to(path).parts)
            ]
            named = {p.relative_to(path).as_posix(): p for p in files}
        elif path.is_file():
            named = {path.name: path}
        else:
            raise UsageError(f"{path}: no such file or folder")
        for name, file in named.items():
            if name in found and found[name] != file:
                raise UsageError(f"{found[name]} and {file} would both be the document {name!r}")
            found[name] = file
    return found


def batches(files: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Groups small enough for one request each."""
    group: dict[str, Path] = {}
    size = 0
    for name, path in files.items():
        weight = path.stat().st_size
        if group and (len(group) >= BATCH_FILES or size + weight > BATCH_BYTES):
            yield group
            group, size = {}, 0
        group[name] = path
        size += weight
    if group:
        yield group


@dataclass
class Outcome:
    """What became of the files of one `nexus ingest`."""

    indexed: int = 0
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)


def send(gateway: Gateway, index: str, files: dict[str, Path], progress: Progress) -> Outcome:
    """Upload the files; a file that is refused does not stop the others."""
    outcome, task = Outcome(), progress.add_task("uploading", total=len(files))
    for group in batches(files):
        try:
            taken = gateway.upload(index, group)
        except CliError as error:
            if len(group) > 1:
                taken = _one_by_one(gateway, index, group, outcome)
            else:
                outcome.failed += [(name, str(error)) for name in group]
                taken = []
        for document in taken:
            if document["state"] == "indexed":
                outcome.unchanged += 1
            else:
                outcome.waiting.add(document["document"])
        progress.advance(task, len(group))
    return outcome


def _one_by_one(
    gateway: Gateway, index: str, group: dict[str, Path], outcome: Outcome
) -> list[Payload]:
    taken: list[Payload] = []
    for name, path in group.items():
        try:
            taken += gateway.upload(index, {name: path})
        except CliError as error:
            outcome.failed.append((name, str(error)))
    return taken


def settle(
    gateway: Gateway, index: str, outcome: Outcome, progress: Progress, *, seconds: float
) -> None:
    """Wait until every uploaded document is indexed or failed.

    Raises:
        CliError: time is up.
    """
    task = progress.add_task("indexing", total=len(outcome.waiting))
    end = time.monotonic() + seconds
    while outcome.waiting:
        for document in gateway.documents(index):
            name, state = document["document"], document["state"]
            if name not in outcome.waiting or state == "pending":
                continue
            outcome.waiting.discard(name)
            if state == "indexed":
                outcome.indexed += 1
            else:
                why = document.get("message") or document.get("reason") or state
                outcome.failed.append((name, str(why)))
            progress.advance(task)
        if not outcome.waiting:
            return
        if time.monotonic() > end:
            raise CliError(
                f"{len(outcome.waiting)} documents are still pending after {seconds:.0f} s; they "
                f"go on in the background: nexus documents --index {index}"
            )
        time.sleep(POLL_SECONDS)


def bars() -> Progress:
    """The progress bars of an ingest; plain lines where there is no terminal."""
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=False,
    )


def summary(outcome: Outcome) -> str:
    """One line: what was indexed, unchanged and failed."""
    return f"{outcome.indexed} indexed, {outcome.unchanged} unchanged, {len(outcome.failed)} failed"


@connected
def ingest(
    target: Target,
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.")],
    index: IndexOption,
    wait: Annotated[bool, typer.Option(help="Return when they can be searched.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to wait, e.g. 10m.")] = "30m",
) -> None:
    """Upload documents into an index and tell what became of each."""
    from nexus_api.duration import parse_duration

    try:
        seconds = parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error
    files = collect(paths)
    if not files:
        raise UsageError("there is no file to ingest in what was named")
    gateway = Gateway(target.gateway())
    with bars() as progress:
        outcome = send(gateway, index, files, progress)
        if wait:
            settle(gateway, index, outcome, progress, seconds=seconds)
    if wait:
        console.print(summary(outcome), highlight=False)
    else:
        waiting = len(outcome.waiting)
        console.print(f"{waiting} taken, {len(outcome.failed)} refused", highlight=False)
    for name, why in outcome.failed:
        console.print(f"  failed {escape(repr(name))}: {escape(why)}", highlight=False)
    if outcome.failed:
        raise typer.Exit(1)


@connected
def documents(
    target: Target,
    index: IndexOption,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
) -> None:
    """List the documents of an index and how each stands."""
    rows = [
        [
            document["document"],
            document["state"],
            str(document.get("pages") or ""),
            str(document.get("chunks") or ""),
            ": ".join(t for t in (document.get("reason"), document.get("message")) if t),
        ]
        for document in Gateway(target.gateway()).documents(index, state="failed" if failed else "")
    ]
    if rows:
        print_table(console, ("DOCUMENT", "STATE", "PAGES", "CHUNKS", "REASON"), rows)
    else:
        what = "failed documents" if failed else "documents"
        Console(stderr=True).print(f"No {what} in index {index}.", highlight=False)
