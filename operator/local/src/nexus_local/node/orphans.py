"""Records of running children, by which the next platform finds and ends what was left behind."""

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_PATIENCE_SECONDS = 5.0
_START_TIME_FIELD = 19  # of /proc/<pid>/stat, counted from after the command's closing bracket
_log = logging.getLogger(__name__)


class Records:
    """One small file for each child, named by its pid, with what tells it from a later process."""

    def __init__(self, folder: Path, marker: Path) -> None:
        """Keep records in `folder`; children carry a path below `marker` in NEXUS_POD_FOLDER."""
        self._folder = folder
        self._marker = str(marker)
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, pid: int, label: str) -> None:
        """Remember a child; one that has ended already needs no record.

        Where the disk is full it goes on without one: the kernel and the watchdog end it too, and
        a child that runs and that nobody knows of would be worse.
        """
        born = birth(pid)
        if born is None:
            return
        text = json.dumps({"born": born, "pod": label})
        try:
            (self._folder / str(pid)).write_text(text, encoding="utf-8")
        except OSError as error:
            _log.warning("there is no record of process %d (%s): %s", pid, label, error)

    def remove(self, pid: int) -> None:
        """Forget a child that has ended."""
        (self._folder / str(pid)).unlink(missing_ok=True)

    def sweep(self) -> list[int]:
        """Kill the recorded children that still run, with their groups; return the pids killed.

        A process that merely got the number of a recorded one is left alone.
        """
        killed: list[int] = []
        for record in sorted(self._folder.iterdir()):
            if record.name.isdecimal():
                for pid in self._remains(int(record.name), record):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
            record.unlink(missing_ok=True)
        _until_gone(killed)
        return killed

    def _remains(self, pid: int, record: Path) -> Iterator[int]:
        try:
            born = json.loads(record.read_text(encoding="utf-8")).get("born")
        except (ValueError, AttributeError):
            born = None  # the record was being written when the platform was killed
        now = birth(pid)
        if now is not None and now != born:
            return  # the number belongs to another process, and so does its group
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                if os.getpgid(process.pid) == pid and (process.pid == pid or self._marked(process)):
                    yield process.pid

    def _marked(self, process: psutil.Process) -> bool:
        return process.environ().get("NEXUS_POD_FOLDER", "").startswith(self._marker)


def birth(pid: int) -> str | None:
    """Return what tells a process from any other of the same number; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        with contextlib.suppress(psutil.Error):
            return f"{psutil.Process(pid).create_time():.2f}"
        return None
    return f"{boot}:{stat.rpartition(')')[2].split()[_START_TIME_FIELD]}"


def _until_gone(pids: list[int]) -> None:
    """Wait until killed processes have really ended: they hold ports and file locks till then."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    processes = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            processes.append(psutil.Process(pid))
    psutil.wait_procs(processes, timeout=max(0.0, deadline - time.monotonic()))
