"""Where the tests keep what they build: one folder for each content, made once."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for everything that the project builds for its tests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmops-nexus"


def cached(key: str, name: str, make: Callable[[Path], None]) -> Path:
    """Return the file or folder `name` of the content `key`, made by `make(path)` when not there.

    `make` writes to a path beside the real one, which takes its place only when it is complete.
    """
    target = cache_folder() / key / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.parent / ".lock"):
        if not target.exists():
            fresh = target.with_name(f"{name}.new")
            if fresh.is_dir():
                shutil.rmtree(fresh)
            make(fresh)
            fresh.rename(target)
    return target


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that other test runs on this machine wait for; it goes with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
