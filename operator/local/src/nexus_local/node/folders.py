"""Where a pod's files lie on this machine."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOGS_KEPT = 2
"""Log files of a container: of the run now and of the one before."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The node's part of the data directory.

    claims: directories for persistent volume claims of that name in every namespace; other
    claims get a directory of their own for each namespace.
    """

    root: Path
    claims: Mapping[str, Path] = field(default_factory=dict)

    @property
    def processes(self) -> Path:
        """One record for each child that runs."""
        return self.root / "processes"

    @property
    def pods(self) -> Path:
        """One folder for each namespace, in it one for each pod."""
        return self.root / "pods"

    def pod(self, namespace: str, name: str) -> Path:
        """Where one pod runs."""
        return self.pods / namespace / name

    def logs(self, namespace: str, name: str) -> Path:
        """What one pod prints, one file for each start of its container."""
        return self.pod(namespace, name) / "logs"

    def claim(self, namespace: str, name: str) -> Path:
        """The directory behind a persistent volume claim; it outlives its pods."""
        return self.claims.get(name) or self.root / "volumes" / namespace / name

    def known_pods(self) -> Iterator[tuple[str, str]]:
        """Yield (namespace, name) of every pod that has a folder; stray files are none."""
        for pod in sorted(self.pods.glob("*/*/")):
            yield pod.parent.name, pod.name

    def log_files(self, namespace: str, name: str) -> list[Path]:
        """Return the log files of a pod, the oldest run first."""
        logs = self.logs(namespace, name)
        ours = (path for path in logs.glob("*.log") if path.stem.isdecimal())
        return sorted(ours, key=lambda path: int(path.stem))

    def new_log(self, namespace: str, name: str) -> Path:
        """Return the file for the next start of a container; only the run before it is kept."""
        logs = self.logs(namespace, name)
        logs.mkdir(parents=True, exist_ok=True)
        there = self.log_files(namespace, name)
        for old in there[: len(there) - (LOGS_KEPT - 1)]:
            old.unlink(missing_ok=True)
            rotated(old).unlink(missing_ok=True)
        return logs / f"{int(there[-1].stem) + 1 if there else 0}.log"

    def forget(self, namespace: str, name: str) -> None:
        """Remove a pod's folder with its logs; claims stay."""
        shutil.rmtree(self.pod(namespace, name), ignore_errors=True)

    def clear_scratch(self, namespace: str, name: str) -> None:
        """Remove what a pod wrote for itself; its logs stay."""
        for scratch in ("tmp", "volumes"):
            shutil.rmtree(self.pod(namespace, name) / scratch, ignore_errors=True)


def rotated(log: Path) -> Path:
    """Return the file that holds the older part of a log that grew large."""
    return log.with_name(log.name + ".1")
