"""The Python environment with the real ragas, which shares none with ours.

It is made once from the judge's lock and lies in the user's cache.  By hand:

    python tests/harness/judge_environment.py
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from needs import in_ci, lacking

_ROOT = Path(__file__).parents[2]
_LOCK = _ROOT / "pipelines" / "requirements-judge.txt"
_INSTALL_SECONDS = 1500
COMMAND = "python tests/harness/judge_environment.py"


class RagasMissing(RuntimeError):
    """ragas is not installed, nor may it be now; the message has the command."""


def judge_python(*, install: bool) -> Path:
    """Return the Python that has ragas.  Raises RagasMissing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmops-nexus"
    folder = base / f"judge-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    if not install:
        raise RagasMissing(f"ragas is not installed: run `{COMMAND}`")
    base.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder)
            (folder / "complete").touch()
    return python


def needed_judge_python() -> Path:
    """Return it; where it is not installed and may not be, the test ends: it is lacking."""
    try:
        return judge_python(install=in_ci())
    except RagasMissing as error:
        lacking(error)


def _install(folder: Path) -> None:
    uv = shutil.which("uv", path=f"{_ROOT / '.uv/bin'}:{os.environ.get('PATH', '')}")
    if uv is None:
        raise RagasMissing("uv is not installed: run `make install`")
    _run(uv, "venv", "-q", "--python", sys.executable, str(folder))
    where = ("--python", str(folder / "bin/python"), "--require-hashes", "--compile-bytecode")
    _run(uv, "pip", "install", "-q", *where, "-r", str(_LOCK))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise RagasMissing(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-2000:]}")


if __name__ == "__main__":
    sys.stdout.write(f"{judge_python(install=True)}\n")
