"""What the monitor is told by its environment; every option is a flag and a variable."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from nexus_api.access import access
from nexus_api.duration import parse_duration
from nexus_monitor.bands import Bands
from nexus_monitor.errors import SettingsError

_TEXTS: Mapping[str, tuple[str, str]] = {
    "host": ("127.0.0.1", "address that /metrics listens on"),
    "log_level": ("INFO", "DEBUG, INFO, WARNING or ERROR"),
    "ledger_url": ("", "the ledger's database"),
    "work_url": ("", "the store for reports"),
    "embedder_url": ("", "the embedding server; without it neither topics nor support"),
    "control_url": ("", "the Kubernetes API, or the laptop's; in a pod it is found by itself"),
    "control_token_file": ("", "bearer token for it (plain, or a JSON object with `token`)"),
    "control_ca_file": ("", "its certificate authority, for https"),
    "monitor_interval": ("15m", "time between two looks"),
    "monitor_window": ("168h", "length of the reference, and of what is compared with it"),
    "drift_warn": ("0.02", "least drift that warns"),
    "drift_retrain": ("0.05", "least drift that asks for a run"),
    "drift_stop": ("0.10", "drift above which promotions ask a person"),
    "support_least": ("0.5", "share of answers that their passages have to support, from 0 to 1"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The monitor's settings."""

    once: bool
    host: str
    port: int
    log_level: str
    ledger_url: str
    work_url: str
    embedder_url: str
    control_url: str
    control_token_file: Path | None
    control_ca_file: Path | None
    interval: timedelta
    window: timedelta
    bands: Bands
    support_least: float


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from flags, then the environment, then defaults.

    Raises:
        SettingsError: names the variable.  A wrong flag ends the process with usage (2).
    """
    env = os.environ if environ is None else environ
    parser = argparse.ArgumentParser(
        prog="nexus-monitor", description="Looks at drift of questions and answers, and asks."
    )
    parser.add_argument("--once", action="store_true", help="look once and end")
    for name, (default, help_text) in {**_TEXTS, "port": ("8080", "its port")}.items():
        variable = f"NEXUS_{name.upper()}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=env.get(variable) or default,
            help=f"{help_text} [{variable}]",
        )
    given = parser.parse_args(argv)
    control_url, token, authority = access(
        given.control_url, given.control_token_file, given.control_ca_file, env
    )
    missing = [
        f"NEXUS_{name.upper()}" for name in ("ledger_url", "work_url") if not getattr(given, name)
    ]
    missing += [] if control_url else ["NEXUS_CONTROL_URL"]
    if missing:
        raise SettingsError(f"the monitor needs {', '.join(missing)}: set them or give the flags")
    return Settings(
        once=given.once,
        host=given.host,
        port=_whole(given.port, "NEXUS_PORT"),
        log_level=given.log_level.upper(),
        ledger_url=given.ledger_url,
        work_url=given.work_url,
        embedder_url=given.embedder_url.rstrip("/"),
        control_url=control_url.rstrip("/"),
        control_token_file=token,
        control_ca_file=authority,
        interval=_span(given.monitor_interval, "NEXUS_MONITOR_INTERVAL"),
        window=_span(given.monitor_window, "NEXUS_MONITOR_WINDOW"),
        bands=_bands(given),
        support_least=_share(given.support_least, "NEXUS_SUPPORT_LEAST"),
    )


def _bands(given: argparse.Namespace) -> Bands:
    try:
        return Bands(
            warn=float(given.drift_warn),
            retrain=float(given.drift_retrain),
            stop=float(given.drift_stop),
        )
    except ValueError as error:
        raise SettingsError(
            f"NEXUS_DRIFT_WARN, NEXUS_DRIFT_RETRAIN, NEXUS_DRIFT_STOP: {error}"
        ) from error


def _span(text: str, variable: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r}: {error}") from error
    if span < timedelta(seconds=1):
        raise SettingsError(f"{variable}={text!r} must be a second at least")
    return span


def _share(text: str, variable: str) -> float:
    try:
        share = float(text)
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r} must be a number") from error
    if not 0 <= share <= 1:
        raise SettingsError(f"{variable}={text!r} must lie between 0 and 1")
    return share


def _whole(text: str, variable: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r} must be a number") from error
