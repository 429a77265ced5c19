"""The contenders of the burst as processes: the operator, and two plain kopf handlers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

PORT = 18081
OURS = "nexus-operator"
HANDLERS = {
    "kopf tutorial": Path(__file__).with_name("tutorial_handler.py"),
    "kopf async": Path(__file__).with_name("plain_handler.py"),
}
CONTENDERS = (*HANDLERS, OURS)
_OUTCOME = re.compile(r'result="(\w+)"')
_READY_SECONDS = 120.0
_KOPF_SECONDS = 8.0
"""How long kopf gets to begin its watches, of which it gives no sign."""


@contextlib.contextmanager
def contender(title: str, kubeconfig: Path, *, ready: bool = True) -> Iterator[int]:
    """Run one of them; yields its process id.  With `ready`, once it takes up new resources."""
    if title == OURS:
        with operator(kubeconfig, ready=ready) as child:
            yield child.pid
        return
    command = [sys.executable, "-m", "kopf", "run", "-A", "--standalone"]
    with _process([*command, str(HANDLERS[title])], kubeconfig) as child:
        if ready:
            time.sleep(_KOPF_SECONDS)
        yield child.pid


@contextlib.contextmanager
def operator(kubeconfig: Path, *, ready: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run our operator, as users run it outside of a cluster."""
    command = str(Path(sys.executable).parent / "nexus-operator")
    with _process([command, "--dev", str(kubeconfig), "--port", str(PORT)], kubeconfig) as child:
        if ready:
            _wait_ready()
        yield child


@contextlib.contextmanager
def _process(command: list[str], kubeconfig: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield child
        except BaseException:
            log.seek(0)
            print(log.read().decode(errors="replace")[-2000:], flush=True)
            raise
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_ready() -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{PORT}/readyz").is_success and metrics():
                return
        time.sleep(0.2)
    raise TimeoutError("the operator is not ready")


def metrics() -> dict[str, float]:
    """Return the operator's own metrics."""
    text = httpx.get(f"http://127.0.0.1:{PORT}/metrics", timeout=30).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("nexus_"))
    return {name: float(value) for name, _, value in lines if "_created" not in name}


def writes(figures: dict[str, float]) -> float:
    """Requests that write, the Lease's renewals left out."""
    return sum(
        value
        for name, value in figures.items()
        if name.startswith("nexus_api_requests_total")
        and any(f'verb="{verb}"' in name for verb in ("POST", "PATCH", "PUT", "DELETE"))
        and 'kind="Lease"' not in name
    )


def reconciles(figures: dict[str, float]) -> float:
    """Reconciles of all kinds."""
    return sum(value for name, value in figures.items() if name.startswith("nexus_reconcile_total"))


def outcomes(figures: dict[str, float]) -> str:
    """Return in words how the reconciles of all kinds ended."""
    found: Counter[str] = Counter()
    for name, value in figures.items():
        if name.startswith("nexus_reconcile_total"):
            found[_OUTCOME.findall(name)[0]] += round(value)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found.most_common() if count)
    return f"{found.total()} reconciles ({counts})"


def processor_seconds(pid: int) -> float:
    """Processor time that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, what: str) -> float:
    """Return `VmRSS` or `VmHWM` of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise ValueError(what)
