"""An API server of its own for each worker, with our kinds and Argo's."""

import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcluster.binaries import BinaryMissing, binary
from testcluster.control_plane import ControlPlane

from fault_lab.install import install_kinds
from fault_lab.laboratory import Server

ROOT = Path(__file__).parents[3]
CRDS = sorted((ROOT / "manifests" / "crds").glob("*.yaml"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running API server; without its binaries the tests are skipped, never in CI."""
    try:
        binary("etcd")
        binary("kube")
    except BinaryMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with ControlPlane() as plane:
        install_kinds(plane.client, CRDS)
        certificate = plane.folder / "certificates" / "apiserver.crt"
        tls = ssl.create_default_context(cafile=str(certificate))
        yield Server(plane.url, plane.token, tls)


class ErrorLog(logging.Handler):
    """Keeps what the operator logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def errors() -> Iterator[ErrorLog]:
    """What the operator logs as errors during a test."""
    handler = ErrorLog()
    logger = logging.getLogger("nexus_operator")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
