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
    """Print figures of a run, whether it passes or not: they are what the documents state.

    As errors are printed: what one of several workers says to its output, nobody hears.
    """

    def say(figures: object) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{figures}\n")

    return say


@pytest.fixture(autouse=True)
def connections_of_killed_operators() -> Iterator[None]:
    """Take no offence at them: an operator that is killed in this process leaves its sockets open.

    So does one whose connection times out as it comes about, which is rare but where time is made
    to run a hundred times as fast.  The collector comes upon them in the test itself, or, were it
    not called here, in another one, and would lay them at its door.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
