"""`nexus doctor`: what is missing on this machine, and the command that mends it."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nexus_local.cli.errors import CliError
from nexus_local.platform.components import ENTRY_POINTS
from nexus_local.platform.layout import (
    DEFAULT_PORT,
    Layout,
    default_data_dir,
    default_model_cache,
    read_json,
)

NEEDED_DISK = 2 << 30
NEEDED_MEMORY = 3 << 30
WANTED_FLAGS = ("avx2", "avx512_vnni", "avx512_bf16", "amx_bf16")
console = Console()


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: whether it is well, what was seen, and what mends it."""

    subject: str
    well: bool
    seen: str
    mend: str = ""


def checks(data_dir: Path, port: int) -> Iterator[Check]:
    """Everything that a platform on this machine needs, each looked at now."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    linux = sys.platform == "linux"
    yield Check("system", linux, sys.platform, "run on Linux: child processes are tied to it")
    yield _sqlite()
    yield from _entry_points()
    yield _openmp()
    yield _disk(data_dir)
    yield _memory()
    yield _processor()
    yield _writable(data_dir)
    yield _port(data_dir, port)
    yield _models(default_model_cache())


def _sqlite() -> Check:
    well = sqlite3.sqlite_version_info >= (3, 35)
    return Check("SQLite", well, sqlite3.sqlite_version, "use a Python built with SQLite >= 3.35")


def _entry_points() -> Iterator[Check]:
    folder = Path(sys.executable).parent
    for name in ENTRY_POINTS:
        found = (folder / name).exists()
        seen = "installed" if found else f"not in {folder}"
        yield Check(name, found, seen, "make install")


def _openmp() -> Check:
    mend = "install libgomp (Debian: apt-get install libgomp1): llama.cpp computes with it"
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return Check("OpenMP", False, "libgomp.so.1 is missing", mend)
    return Check("OpenMP", True, "libgomp.so.1")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _disk(data_dir: Path) -> Check:
    free = shutil.disk_usage(_existing(data_dir)).free
    seen = f"{free / (1 << 30):.1f} GiB free for {data_dir}"
    return Check("disk", free >= NEEDED_DISK, seen, "free 2 GiB, or name another --data-dir")


def _memory() -> Check:
    free = psutil.virtual_memory().available
    mend = "close other programs: the platform takes about 2 GiB"
    return Check("memory", free >= NEEDED_MEMORY, f"{free / (1 << 30):.1f} GiB available", mend)


def _processor() -> Check:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    flags = [flag for flag in WANTED_FLAGS if f" {flag}" in text]
    seen = f"{os.cpu_count()} cores, {' '.join(flags) or 'no AVX2'}"
    return Check("processor", "avx2" in flags, seen, "answers will be slow without AVX2")


def _writable(data_dir: Path) -> Check:
    well = os.access(_existing(data_dir), os.W_OK)
    mend = f"make {_existing(data_dir)} writable, or name another --data-dir"
    return Check("data directory", well, str(data_dir), mend)


def _port(data_dir: Path, port: int) -> Check:
    running = read_json(Layout(data_dir).endpoint).get("url", "")
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if taken and running.endswith(f":{port}"):
        return Check("port", True, f"{port}: the platform in {data_dir} runs there")
    seen = f"{port} is {'taken' if taken else 'free'}"
    return Check("port", not taken, seen, "nexus up --port ANOTHER")


def _models(cache: Path) -> Check:
    size = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) if cache.exists() else 0
    seen = f"{size / (1 << 20):.0f} MiB in {cache}" if size else "empty: fetched at first use"
    return Check("model cache", True, seen)


def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Data directory to look at.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = DEFAULT_PORT,
) -> None:
    """Tell what is missing on this machine and how to mend it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    found = list(checks(data_dir or default_data_dir(), port))
    for check in found:
        mark = "[green]ok[/]" if check.well else "[red]no[/]"
        mend = "" if check.well else f"\n[bold]mend:[/] {escape(check.mend)}"
        table.add_row(mark, check.subject, escape(check.seen) + mend)
    console.print(table)
    missing = sum(not check.well for check in found)
    if missing:
        raise CliError(f"{missing} of {len(found)} checks failed")
    console.print("Ready: nexus up", highlight=False)
