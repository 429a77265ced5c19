"""A real API server with the operator beside it, as the process that users run."""

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
from needs import program

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1] / "cluster")]

from operator_process import OperatorProcess, World  # noqa: E402 - the path is set above
from testcluster.control_plane import ControlPlane  # noqa: E402

Start = Callable[..., OperatorProcess]
_numbers = itertools.count(1)


def _real_cluster() -> ModuleType:
    file = FOLDER.parents[1] / "contract" / "cluster" / "real_cluster.py"
    spec = importlib.util.spec_from_file_location("real_cluster", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[ControlPlane]:
    """An API server with a garbage collector, our kinds and Workflows."""
    program("etcd")
    program("kube")
    with ControlPlane(controllers="garbage-collector-controller") as running:
        _real_cluster().prepare(running.client)
        yield running


@pytest.fixture
def world(kubernetes: ControlPlane) -> World:
    """Two namespaces of this test's own: one for resources, one for the platform."""
    number = next(_numbers)
    world = World(kubernetes, namespace=f"team-{number}", platform=f"platform-{number}")
    world.make_namespaces()
    return world


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Start]:
    """Start operators; they are ended with the test."""
    with ExitStack() as stack:

        def started(*, everywhere: bool = False, wait: bool = True) -> OperatorProcess:
            operator = OperatorProcess(world, tmp_path, everywhere=everywhere)
            stack.enter_context(operator)
            if wait:
                operator.wait_ready()
            return operator

        yield started
