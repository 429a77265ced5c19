"""A Python environment made once from a lock, apart from ours, in the user's cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from needs import in_ci, lacking

_ROOT = Path(__file__).parents[2]
_INSTALL_SECONDS = 1500


class EnvironmentMissing(RuntimeError):
    """The environment is not installed, nor may it be now; the message has the command."""


def own_environment(name: str, lock: Path, *, command: str, install: bool) -> Path:
    """Return the folder of the environment `name` that a lock describes.

    `command` is what makes it by hand.  Raises EnvironmentMissing.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmops-nexus"
    folder = base / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if (folder / "complete").exists():
        return folder
    if not install:
        raise EnvironmentMissing(f"{name} is not installed: run `{command}`")
    base.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, lock)
            (folder / "complete").touch()
    return folder


def needed_environment(name: str, lock: Path, *, command: str) -> Path:
    """Return it; where it is not installed and may not be, the test ends: it is lacking."""
    try:
        return own_environment(name, lock, command=command, install=in_ci())
    except EnvironmentMissing as error:
        lacking(error)


def _install(folder: Path, lock: Path) -> None:
    uv = shutil.which("uv", path=f"{_ROOT / '.uv/bin'}:{os.environ.get('PATH', '')}")
    if uv is None:
        raise EnvironmentMissing("uv is not installed: run `make install`")
    _run(uv, "venv", "-q", "--python", sys.executable, str(folder))
    where = ("--python", str(folder / "bin/python"), "--require-hashes", "--compile-bytecode")
    _run(uv, "pip", "install", "-q", *where, "-r", str(lock))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise EnvironmentMissing(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-2000:]}")
