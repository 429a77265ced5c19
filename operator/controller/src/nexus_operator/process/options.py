"""The command line of the operator."""

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args
from uuid import uuid4

from nexus_operator.process.logs import Format
from nexus_operator.process.settings_file import SettingsInvalid, read_settings
from nexus_operator.settings import Settings

PORT = 8080
_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the administrator chose for this process.

    Attributes:
        settings: what the settings file states, with the flags that override it.
        kubeconfig: API server and identity of a developer; None for those of the pod.
        port: where /healthz, /readyz and /metrics answer; 0 for any free one.
        deployment: name of the operator's own Deployment, empty when there is none.
        identity: name of this process in the Lease, no other process has it.
        log_level, log_format: what is logged, and how.
    """

    settings: Settings
    kubeconfig: Path | None
    port: int
    deployment: str
    identity: str
    log_level: str
    log_format: Format


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line and the environment; ends the process with a sentence when wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(given.settings) if given.settings else Settings()
    except SettingsInvalid as problem:
        parser.error(str(problem))
    if given.watch_namespace:
        settings = replace(settings, watch_namespaces=tuple(given.watch_namespace))
    return Options(
        settings=replace(settings, on_kubernetes=True),
        kubeconfig=given.dev,
        port=given.port,
        deployment="" if given.dev else os.environ.get("NEXUS_OPERATOR_DEPLOYMENT", ""),
        identity=f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid4()}",
        log_level=given.log_level,
        log_format=given.log_format,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nexus-operator", description="Reconciles RagIndexes, ServingModels and FineTuneJobs."
    )
    parser.add_argument(
        "--settings",
        type=Path,
        default=os.environ.get("NEXUS_OPERATOR_SETTINGS") or None,
        help="YAML file of settings (NEXUS_OPERATOR_SETTINGS); without one, the defaults",
    )
    parser.add_argument(
        "--watch-namespace",
        action="append",
        metavar="NAMESPACE",
        help="look after this namespace only; may be repeated; instead of the settings' list",
    )
    parser.add_argument(
        "--dev",
        type=Path,
        nargs="?",
        const=Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config"),
        metavar="KUBECONFIG",
        help="run outside the cluster, with this kubeconfig (by default the usual one)",
    )
    parser.add_argument("--port", type=int, default=PORT, help="of /healthz, /readyz, /metrics")
    parser.add_argument(
        "--log-level",
        type=str.lower,
        choices=_LEVELS,
        default=os.environ.get("NEXUS_LOG_LEVEL", "info").lower(),
    )
    parser.add_argument(
        "--log-format",
        choices=get_args(Format),
        default=os.environ.get("NEXUS_LOG_FORMAT", "text"),
    )
    return parser
