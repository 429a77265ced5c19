"""`nexus demo`: the main job from nothing, on documents of an invented water works."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from nexus_local.cli.apply import apply_manifest, read_manifests
from nexus_local.cli.ask import stream_answer
from nexus_local.cli.documents import Outcome, bars, collect, send, settle, summary
from nexus_local.cli.errors import CliError, NotFoundError
from nexus_local.cli.gateway import Gateway
from nexus_local.cli.kinds import find_kind
from nexus_local.cli.target import Target
from nexus_local.cli.wait import parse_wish, until
from nexus_local.platform.layout import DEFAULT_PORT, Layout, default_data_dir, read_json

INDEX, MODEL = "handbook", "assistant"
QUESTION = "When is the standby pump test-run, and for how long?"
KNOWN_SECONDS, MODEL_SECONDS, INGEST_SECONDS = 30, 900, 300
console = Console()


@contextmanager
def step(what: str) -> Iterator[None]:
    """A line for one step: what is being done, then how long it took."""
    began = time.monotonic()
    with console.status(f"{what} …"):
        yield
    console.print(
        f"[green]ok[/] {what} [dim]({time.monotonic() - began:.1f} s)[/]", highlight=False
    )


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the answer.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept [env: NEXUS_DATA_DIR].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the gateway; default any free.")
    ] = None,
    question: Annotated[str, typer.Option(help="What to ask.")] = QUESTION,
) -> None:
    """Set up, declare an index and a model, ingest sample documents, ask, print the answer."""
    root = (data_dir or default_data_dir()).expanduser().resolve()
    with _platform(root, port) as url:
        target = Target(data_dir=root)
        try:
            _main_job(target, question)
        finally:
            target.close()
        console.print(f"\nChat page: [bold]{url}/[/]")
        if not once:
            console.print("Running until Ctrl-C.")
            signal.pause()


def _main_job(target: Target, question: str) -> None:
    kube = target.kube()
    resources = files("nexus_local.demo")
    declare = step(f"declare RagIndex {INDEX} and ServingModel {MODEL}")
    with declare, as_file(resources / "resources") as folder:
        for manifest in read_manifests([str(folder)]):
            apply_manifest(kube, target.namespace, manifest)
    gateway = Gateway(target.gateway())
    with as_file(resources / "documents") as folder:
        _ingest(gateway, folder)
    with step("load the model"):
        end = time.monotonic() + MODEL_SECONDS
        ready = parse_wish("condition=Ready")
        kind = find_kind("servingmodel")
        until(kube, kind, target.namespace, MODEL, ready, end=end, wish="Ready")
    console.print(f"\n[bold]Question[/] {question}\n[bold]Answer[/] ", end="")
    if not stream_answer(gateway, MODEL, question, console):
        raise CliError("the answer cites nothing: the sample documents were not found")


def _ingest(gateway: Gateway, folder: Path) -> None:
    _until_known(gateway)
    with bars() as progress:
        outcome: Outcome = send(gateway, INDEX, collect([folder]), progress)
        settle(gateway, INDEX, outcome, progress, seconds=INGEST_SECONDS)
    if outcome.failed:
        raise CliError("; ".join(f"{name}: {why}" for name, why in outcome.failed))
    console.print(f"[green]ok[/] ingest the sample documents: {summary(outcome)}", highlight=False)


def _until_known(gateway: Gateway) -> None:
    """Return when the gateway has seen the index that was just declared."""
    end = time.monotonic() + KNOWN_SECONDS
    while True:
        try:
            next(gateway.documents(INDEX), None)
        except NotFoundError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def _platform(root: Path, port: int | None) -> Iterator[str]:
    """The platform of a data directory: the one that runs, else one started for the while."""
    running = _running(root)
    if running:
        console.print(f"[green]ok[/] a platform runs in {root}", highlight=False)
        yield running
        return
    log = root / "up.log"
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nexus_local", "up", "--data-dir", str(root)]
    command += ["--port", str(port or _free_port())]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    try:
        with step(f"start the platform in {root}"):
            url = _ready_line(process, log)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        if process.stdout:
            process.stdout.close()


def _ready_line(process: subprocess.Popen[str], log: Path) -> str:
    for line in process.stdout or ():
        if line.startswith("ready "):
            return line.split()[1]
        console.print(line.rstrip(), markup=False, highlight=False)
    process.wait(timeout=60)
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    raise CliError("the platform did not start:\n" + "\n".join(tail))


def _running(root: Path) -> str:
    endpoint: dict[str, Any] = dict(read_json(Layout(root).endpoint))
    try:
        os.kill(int(endpoint["pid"]), 0)
        httpx.get(f"{endpoint['url']}/healthz", timeout=5).raise_for_status()
    except (KeyError, ValueError, OSError, httpx.HTTPError):
        return ""
    return str(endpoint["url"])


def _free_port() -> int:
    for wanted in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CliError("no free port on this machine")
