"""The control groups of a cluster: its own root in every hierarchy, below which all of it runs.

They are how what a crashed cluster left running is found again, pods included.
"""

import os
import signal
import time
from pathlib import Path

from testcluster.errors import LeftBehind

_ROOT = Path("/sys/fs/cgroup")
_DAEMONS = "daemons"
_END_SECONDS = 90.0
_POLL_SECONDS = 0.05


def create(name: str) -> None:
    """Make the cluster's group in every hierarchy, able to hold the kubelet's groups."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        if (group / "cgroup.controllers").exists():
            _delegate(hierarchy)
            _delegate(group)
        for given in ("cpuset.cpus", "cpuset.mems"):  # version 1 has them empty in a new group
            if (group / given).exists() and not (group / given).read_text().strip():
                (group / given).write_text((hierarchy / given).read_text())
    (_daemons(name)).mkdir(exist_ok=True)


def adopt(name: str, pid: int) -> None:
    """Move a process, and so what it starts from now on, to the cluster's group for daemons."""
    (_daemons(name) / "cgroup.procs").write_text(str(pid))


def pids(name: str) -> set[int]:
    """Return every process of the cluster: its daemons, their shims, its pods."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        # Not by rglob, which stumbles over a group that goes while it looks.
        for group, _, _ in os.walk(hierarchy / name):
            try:
                found.update(int(pid) for pid in Path(group, "cgroup.procs").read_text().split())
            except OSError:  # the group went, or is of threads
                continue
    return found - {0}


def kill(name: str) -> None:
    """End every process of the cluster at once.  Raises LeftBehind when one does not go."""
    deadline = time.monotonic() + _END_SECONDS
    while running := pids(name):
        for pid in running:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise LeftBehind(f"processes that do not end: {sorted(running)}")
        time.sleep(_POLL_SECONDS)


def remove(name: str) -> None:
    """Remove the cluster's groups, innermost first.  Raises LeftBehind when one is in use."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        if not group.exists():
            continue
        # What vanishes meanwhile is passed over: the kernel ends the groups of pods by itself.
        for path, _, _ in os.walk(group, topdown=False):
            _remove_one(Path(path))


def exists(name: str) -> bool:
    """Return whether any hierarchy has a group of the cluster."""
    return any((hierarchy / name).exists() for hierarchy in _hierarchies())


def _remove_one(path: Path) -> None:
    deadline = time.monotonic() + _END_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:  # a killed process is in its group until it is gone for good
            if time.monotonic() > deadline:
                raise LeftBehind(f"the control group {path} cannot be removed: {error}") from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _hierarchies() -> list[Path]:
    """Return the roots of all hierarchies: one of version 2, or one for each mount of version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    # Links name joined controllers a second time.
    return sorted(path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def _daemons(name: str) -> Path:
    """Return the group of the daemons, in the one hierarchy that is enough to find them by."""
    if (_ROOT / "cgroup.controllers").exists():
        return _ROOT / name / _DAEMONS
    return _ROOT / "pids" / name / _DAEMONS


def _delegate(group: Path) -> None:
    """Let the groups below a group of version 2 use its controllers."""
    for controller in (group / "cgroup.controllers").read_text().split():
        (group / "cgroup.subtree_control").write_text(f"+{controller}")
