"""The runtime that serves a unit, as a child process on loopback."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from nexus_api.release import ReleasableUnit
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered, RuntimeDied, RuntimeRefused

COMMAND = "nexus-runtime-llamacpp"
LOAD_SECONDS = 1800.0
STOP_SECONDS = 10.0
_POLL = 0.05  # seconds
_REFUSED = frozenset({1, 2})  # exit codes of the runtime for what will not get better
_SAID = 2000  # characters of its log that an error shows
_PORT_TAKEN = "cannot listen on"  # as it says so; another port next time


@dataclass(frozen=True)
class Runtime:
    """A runtime that answers."""

    url: str
    name: str  # no other runtime has it
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raise RuntimeDied when it has ended."""
        if self.process.poll() is not None:
            raise RuntimeDied(f"the runtime ended (exit {self.process.returncode}): {self.said()}")

    def said(self) -> str:
        """Return the end of its log, in one line."""
        text = self.log.read_text(encoding="utf-8", errors="replace")[-_SAID:]
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())


@contextmanager
def serving(
    unit: ReleasableUnit, *, cache: Path, threads: int, adapter: str = ""
) -> Iterator[Runtime]:
    """Start the runtime of a unit, wait until it answers, and end it.

    One slot and a fixed number of threads, so that the same question gets the same answer.

    Args:
        unit: what to serve; its adapter is fetched and held against its digest.
        cache: the model cache.
        threads: that compute.
        adapter: a folder of this machine that has the unit's adapter, "" for unit.adapter_uri.

    Raises:
        EngineNotOffered: the unit runs by another engine than llama.cpp.
        RuntimeRefused: the runtime does not take the model or its adapter; says why.
        RuntimeDied: it ended for another reason, or did not answer in time.
    """
    if unit.engine != "llamacpp":
        raise EngineNotOffered(
            f"the model is served by {unit.engine}; an evaluation answers through llamacpp only, "
            "so serve a GGUF model by spec.runtime.engine llamacpp"
        )
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="nexus-runtime-") as scratch:
        log = Path(scratch, "log")
        with log.open("wb") as stream:
            name = f"unit-{secrets.token_hex(8)}"
            own = [f"--threads={threads}", f"--served-name={name}", f"--port={port}"]
            command = [*_command(), *_flags(unit, adapter), *own]
            process = _start(command, stream, _environment(cache, adapter))
        runtime = Runtime(f"http://127.0.0.1:{port}", name, process, log)
        try:
            _wait_ready(runtime)
            yield runtime
        finally:
            _stop(process)


def _command() -> list[str]:
    """Return the runtime's command: the one beside this Python, else on the PATH."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(COMMAND, path=beside)
    if found is None:
        raise EngineNotOffered(f"{COMMAND} is not installed here; the step runs in nexus-trainer")
    return [found]


def _flags(unit: ReleasableUnit, adapter: str) -> list[str]:
    flags = [
        f"--model-uri={unit.base}",
        f"--revision={unit.base_revision}",
        f"--quantization={unit.quantization}",
        f"--context-tokens={unit.context_tokens}",
        "--slots=1",
        "--host=127.0.0.1",
    ]
    if unit.adapted:
        flags.append(f"--adapter-uri={f'file://{adapter}' if adapter else unit.adapter_uri}")
        flags.append(f"--adapter-digest={unit.adapter_digest or ''}")
    return flags


def _environment(cache: Path, adapter: str) -> Mapping[str, str]:
    environment = {**os.environ, "NEXUS_MODEL_CACHE": str(cache)}
    roots = environment.get("NEXUS_MODEL_FILE_ROOTS")
    if roots is not None and adapter:
        environment["NEXUS_MODEL_FILE_ROOTS"] = ":".join(filter(None, [roots, adapter]))
    return environment


def _start(
    command: list[str], log: IO[bytes], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment)
    )


def _wait_ready(runtime: Runtime) -> None:
    deadline = time.monotonic() + LOAD_SECONDS
    with httpx.Client(base_url=runtime.url, timeout=5.0) as client:
        while time.monotonic() < deadline:
            code = runtime.process.poll()
            if code in _REFUSED and _PORT_TAKEN not in runtime.said():
                raise RuntimeRefused(f"the runtime does not serve the model: {runtime.said()}")
            runtime.check()
            if _answers(client, runtime.name):
                return
            time.sleep(_POLL)
    raise RuntimeDied(f"the runtime did not answer within {LOAD_SECONDS:.0f} s: {runtime.said()}")


def _answers(client: httpx.Client, name: str) -> bool:
    """Say whether this very runtime answers: the port may have gone to another meanwhile."""
    try:
        told = [client.get(path) for path in ("/health", "/v1/models")]
    except httpx.HTTPError:
        return False  # it does not listen yet
    return all(one.status_code == httpx.codes.OK for one in told) and name in told[-1].text


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
