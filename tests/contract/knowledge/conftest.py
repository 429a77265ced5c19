import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port, listens


class MilvusLite:
    """The Lite server as a child process, which can be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("milvus-lite")), "server"]
        command += ["--data-dir", str(self.data), "--host", "127.0.0.1", "--port", str(self.port)]
        with self.data.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 180
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(self.data.with_suffix(".log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    server = MilvusLite(tmp_path_factory.mktemp("milvus") / "data")
    server.start()
    yield server
    server.kill()
