"""Fixtures of the tests that use the laboratory: an API server of their own, the error log."""

import gc
import logging
import ssl
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import program
from testcluster.control_plane import ControlPlane

from fault_lab.install import install_kinds
from fault_lab.laboratory import Server

ROOT = Path(__file__).parents[3]
ADDRESSES = "--service-cluster-ip-range=10.96.0.0/16"
"""A soak makes hundreds of namespaces with a Service in each, and none is taken away."""

CRDS = sorted((ROOT / "manifests" / "crds").glob("*.yaml"))


def server_of(plane: ControlPlane) -> Server:
    """How to reach an API server as somebody who may do everything."""
    certificate = plane.folder / "certificates" / "apiserver.crt"
    return Server(plane.url, plane.token, ssl.create_default_context(cafile=str(certificate)))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running API server with our kinds and Argo's."""
    program("etcd")
    program("kube")
    with ControlPlane(api_server_flags=(ADDRESSES,)) as plane:
        install_kinds(plane.client, CRDS)
        yield server_of(plane)


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


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """Print figures of a run, whether it passes or not: they are what the documents state."""

    def say(figures: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{figures}\n")

    return say


@pytest.fixture(autouse=True)
def connections_of_killed_operators() -> Iterator[None]:
    """Collect them here: an operator that is killed in this process leaves its connections open.

    The collector would else come upon them in another test, and lay them at its door.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
