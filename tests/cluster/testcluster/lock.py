"""One cluster at a time on a machine: a lock that the running cluster's own etcd holds.

It goes with the cluster, however that ends, and outlives the command that started it.
"""

import fcntl
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from testcluster.errors import ClusterBusy
from testcluster.identity import began

_PATH = Path("/run/lock/llmops-nexus-cluster.lock")
_CLEANING = _PATH.with_name("llmops-nexus-cluster-cleaning.lock")
_POLL_SECONDS = 1.0


@contextmanager
def cleaning(path: Path = _CLEANING) -> Iterator[None]:
    """Hold off others while a cluster is removed.

    The cluster's own lock goes with its etcd, which ends before all of the cluster has: the next
    one would start in the midst of the removal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def acquire(patience: float, path: Path = _PATH) -> int:
    """Return a file descriptor that holds the lock while any process has it open.

    Waits up to `patience` seconds and says on standard error for whom.  Raises ClusterBusy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience
    told = False
    while not _lock(descriptor):
        own = _note(descriptor).is_of(os.getpid())  # waiting for oneself would never end
        if own or time.monotonic() >= deadline:
            whose = _whose(descriptor)
            os.close(descriptor)
            raise ClusterBusy(
                f"a test cluster already runs on this machine, {whose}: wait for it, or end it "
                "with `python tests/cluster/cluster.py down`"
            )
        if not told:
            sys.stderr.write(f"waiting for the test cluster that runs, {_whose(descriptor)}\n")
            told = True
        time.sleep(random.uniform(0.5, 1.5) * _POLL_SECONDS)
    os.ftruncate(descriptor, 0)
    maker = os.getpid()
    os.pwrite(descriptor, f"{maker} {time.strftime('%H:%M:%S')} {began(maker)}".encode(), 0)
    return descriptor


def user(path: Path = _PATH) -> int | None:
    """Return the process that made the running cluster and still is at work with it, if any.

    None when no cluster runs, when its maker ended, or when this process made it.
    """
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if _lock(descriptor):
            return None
        note = _note(descriptor)
    finally:
        os.close(descriptor)
    return note.maker if note.maker != os.getpid() and note.is_of(note.maker) else None


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whose(descriptor: int) -> str:
    note = _note(descriptor)
    return f"made at {note.since} by process {note.maker}"


class _Note(NamedTuple):
    """Who took the lock: the number of a process, when it took it, and when the process began.

    A cluster of an older checkout does not tell the last.
    """

    maker: int
    since: str
    began: str

    def is_of(self, pid: int) -> bool:
        """Say whether a process that runs has made it."""
        now = began(pid)
        return self.maker == pid and now != "" and self.began in {"", now}


def _note(descriptor: int) -> _Note:
    """Return what is written in the lock; one that is just taken has no note yet."""
    said = os.pread(descriptor, 100, 0).decode(errors="replace")
    maker, since, when, *_ = [*said.split(" "), "", "", ""]
    return _Note(int(maker or 0), since or "this moment", when)
