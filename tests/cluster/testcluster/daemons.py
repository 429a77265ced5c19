"""The processes of a cluster: started in its namespace and control group, found again by file."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from testcluster import cgroups, network
from testcluster.config import ClusterConfig
from testcluster.errors import ClusterFailed

_POLL_SECONDS = 0.05
_LAST_LINES = 5


def start(
    config: ClusterConfig,
    name: str,
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    keep_open: tuple[int, ...] = (),
) -> None:
    """Start a process that outlives this one; its output goes to `logs/NAME.log`."""
    with (config.logs / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            network.inside(config, command),
            cwd=config.folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep_open,
        )
    cgroups.adopt(config.name, child.pid)
    _folder(config).mkdir(exist_ok=True)
    (_folder(config) / name).write_text(str(child.pid))
    # The process is not ours to wait for: what asks after it reads its state.
    child.returncode = 0


def running(config: ClusterConfig) -> dict[str, int]:
    """Return the process id of each part that runs, in the order in which they were started."""
    return {name: pid for name, pid in _started(config).items() if _alive(config, pid)}


def reap(config: ClusterConfig) -> None:
    """Take note of the end of processes that this one started, so that no zombies stay."""
    for pid in _started(config).values():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def wait_until(
    config: ClusterConfig, what: str, holds: Callable[[], bool], *, seconds: float = 400.0
) -> None:
    """Wait for a condition.  Raises ClusterFailed when a process ends first, or time is up."""
    expected = _started(config).keys()
    deadline = time.monotonic() + seconds
    while not holds():
        if ended := expected - running(config).keys():
            name = min(ended)
            raise ClusterFailed(f"{name} ended: {last_words(config, name)}")
        if time.monotonic() > deadline:
            raise ClusterFailed(f"{what}: not so within {seconds:.0f} s; see {config.logs}")
        time.sleep(_POLL_SECONDS)


def last_words(config: ClusterConfig, name: str) -> str:
    """Return the last lines that a process wrote."""
    log = config.logs / f"{name}.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-_LAST_LINES:]) or "it said nothing"


def _started(config: ClusterConfig) -> dict[str, int]:
    """Return the process id of each part that was started, in that order."""
    files = sorted(_folder(config).glob("*"), key=lambda path: path.stat().st_mtime_ns)
    notes = {path.name: path.read_text() for path in files}
    return {name: int(note) for name, note in notes.items() if note}


def _folder(config: ClusterConfig) -> Path:
    return config.folder / "processes"


def _alive(config: ClusterConfig, pid: int) -> bool:
    """Return whether a process of the cluster runs: not one that ended, nor a stranger's."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z" and f"/{config.name}/" in groups
