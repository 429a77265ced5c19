"""A real MLflow server as a child process: the one that the image of the test cluster holds.

Its environment is made once from that image's lock and lies in the user's cache.  By hand:

    python tests/harness/mlflow_server.py
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from children import Child
from ports import free_port, listens

_ROOT = Path(__file__).parents[2]
_LOCK = _ROOT / "tests" / "cluster" / "images" / "mlflow" / "requirements.txt"
_INSTALL_SECONDS = 1500
COMMAND = "python tests/harness/mlflow_server.py"


class MlflowMissing(RuntimeError):
    """MLflow's server is not installed, nor may it be now; the message has the command."""


def mlflow_environment(*, install: bool) -> Path:
    """Return the server's Python environment.  Raises MlflowMissing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmops-nexus"
    folder = base / f"mlflow-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]}"
    if (folder / "complete").exists():
        return folder
    if not install:
        raise MlflowMissing(f"MLflow's server is not installed: run `{COMMAND}`")
    base.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder)
            (folder / "complete").touch()
    return folder


def _install(folder: Path) -> None:
    uv = shutil.which("uv", path=f"{_ROOT / '.uv/bin'}:{os.environ.get('PATH', '')}")
    if uv is None:
        raise MlflowMissing("uv is not installed: run `make install`")
    _run(uv, "venv", "-q", "--python", sys.executable, str(folder))
    where = ("--python", str(folder / "bin/python"))
    _run(uv, "pip", "install", "-q", "--require-hashes", *where, "-r", str(_LOCK))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise MlflowMissing(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-2000:]}")


class MlflowServer(Child):
    """MLflow with SQLite and its artifacts in `folder`, as nexus-stack starts it."""

    def __init__(self, folder: Path, environment: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [
                *(str(environment / "bin" / "python"), "-m", "mlflow", "server"),
                *("--host=127.0.0.1", f"--port={self.port}", "--workers=1"),
                f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
                *(f"--artifacts-destination={folder}/artifacts", "--serve-artifacts"),
            ],
            log=folder / "mlflow.log",
            ready=self._answers,
            environment={
                "HOME": str(folder),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            seconds=240,
        )

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


if __name__ == "__main__":
    sys.stdout.write(f"{mlflow_environment(install=True)}\n")
