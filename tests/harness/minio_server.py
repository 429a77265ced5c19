"""A real MinIO as a child process, with one set of credentials."""

import shutil
from pathlib import Path

from children import Child
from minio.error import MinioException
from needs import program
from ports import free_ports, listens
from urllib3.exceptions import HTTPError

from nexus_api.s3 import S3Access

ACCESS_KEY, SECRET_KEY = "tests-access", "tests-secret-key"


def minio_binary() -> Path:
    """Return MinIO's program: the installed one, else the test cluster's."""
    installed = shutil.which("minio")
    return program("minio") if installed is None else Path(installed)


class MinioServer(Child):
    """MinIO with its data in ``folder``; extra environment configures it further."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, console = free_ports(2)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.access = S3Access(self.endpoint, ACCESS_KEY, SECRET_KEY)
        super().__init__(
            [
                *(str(minio_binary()), "server", "--quiet", "--address", f"127.0.0.1:{self.port}"),
                *("--console-address", f"127.0.0.1:{console}", str(folder / "data")),
            ],
            log=folder / "minio.log",
            ready=self._answers,
            environment={
                "HOME": str(folder),
                "MINIO_ROOT_USER": ACCESS_KEY,
                "MINIO_ROOT_PASSWORD": SECRET_KEY,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
                **environment,
            },
        )

    @property
    def environment_of_steps(self) -> dict[str, str]:
        """What a process needs to find this server."""
        return {
            "NEXUS_S3_ENDPOINT": self.endpoint,
            "NEXUS_S3_ACCESS_KEY": ACCESS_KEY,
            "NEXUS_S3_SECRET_KEY": SECRET_KEY,
        }

    def _answers(self) -> bool:
        """Say whether it does its work: its own health checks say yes a moment too early."""
        if not listens(self.port):
            return False
        try:
            self.access.client().list_buckets()
        except (MinioException, HTTPError):
            return False
        return True
