"""A real MLflow server as a child process: the one that the image of the test cluster holds.

Its environment is made once from that image's lock and lies in the user's cache.  By hand:

    python tests/harness/mlflow_server.py
"""

import sys
import urllib.error
import urllib.request
from pathlib import Path

from children import Child
from own_environment import needed_environment, own_environment
from ports import free_port, listens

_NAME = "mlflow"
_LOCK = Path(__file__).parents[1] / "cluster" / "images" / "mlflow" / "requirements.txt"
_COMMAND = "python tests/harness/mlflow_server.py"


def needed_mlflow_environment() -> Path:
    """Return the server's Python environment; where there is none, the test ends."""
    return needed_environment(_NAME, _LOCK, command=_COMMAND)


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
    sys.stdout.write(f"{own_environment(_NAME, _LOCK, command=_COMMAND, install=True)}\n")
