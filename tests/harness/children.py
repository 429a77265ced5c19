"""Servers that tests start as children on loopback, and may kill and start again."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx


def answers(url: str) -> bool:
    """Say whether a server answers there, and with 200."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


class DidNotStart(AssertionError):
    """A server ended, or did not answer in time; the message has the end of its log."""


class Child:
    """One server: the same command at each start, its output in one log."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        seconds: float = 180,
    ) -> None:
        self.command, self.log, self.ready = list(command), log, ready
        self.environment, self.user, self.seconds = environment, user, seconds
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                env=dict(self.environment) if self.environment is not None else None,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user is not None else None,
                cwd=self.log.parent,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + self.seconds
        while not self.ready():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2000:]
                raise DidNotStart(f"{self.command[0]} did not come up: {said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it as a lost machine would, and all that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended already, and all of it
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
