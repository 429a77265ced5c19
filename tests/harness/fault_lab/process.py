"""The operator under test as the process that users run, under an account of its own."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from fault_proxy.proxy import Tap
from pydantic.alias_generators import to_camel

from nexus_operator.settings import Settings

_STOP_SECONDS = 60.0
_LAST_LINES = 20


class ProcessSubject:
    """`nexus-operator` as a child process; a kill is a SIGKILL."""

    def __init__(self, tap: Tap, token: str, settings: Settings, folder: Path) -> None:
        """Start it; `folder` takes its kubeconfig, settings and log."""
        self.tap = tap
        folder.mkdir(parents=True, exist_ok=True)
        config, stated = folder / "kubeconfig", folder / "settings.yaml"
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(_kubeconfig(tap.url, token)))
        stated.write_text(yaml.safe_dump(_stated(settings)))
        self._log = folder / "log"
        command = [str(Path(sys.executable).with_name("nexus-operator"))]
        command += ["--dev", str(config), "--settings", str(stated), "--port", "0"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
            )

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL and reap it."""
        self.tap.cut()
        if self.running:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(_STOP_SECONDS)

    async def end(self) -> None:
        """Send SIGTERM and wait; raises RuntimeError with its last words when it had crashed."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        if self._process.returncode not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"ended with {self._process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def errors(self) -> list[str]:
        """Return what it logged as errors."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if " ERROR " in line or "Traceback" in line]


def _kubeconfig(server: str, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }


def _environment() -> dict[str, str]:
    kept = {"PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV"}
    return {key: value for key, value in os.environ.items() if key in kept}


def _stated(settings: Settings) -> dict[str, Any]:
    """Return what differs from the defaults, as the chart writes it."""
    stated: dict[str, Any] = _differing(settings, Settings())
    stated.pop("onKubernetes", None)  # the process says so itself
    return stated


def _differing(value: Any, default: Any) -> Any:
    found = {}
    for one in dataclasses.fields(value):
        mine, other = getattr(value, one.name), getattr(default, one.name)
        if mine == other:
            continue
        if dataclasses.is_dataclass(mine) and not isinstance(mine, type):
            found[to_camel(one.name)] = _differing(mine, other or type(mine)())
        elif isinstance(mine, tuple | frozenset):
            found[to_camel(one.name)] = sorted(mine)
        elif isinstance(mine, Mapping):
            raise TypeError(f"settings.{one.name} is not written by this harness")
        else:
            found[to_camel(one.name)] = mine
    return found
