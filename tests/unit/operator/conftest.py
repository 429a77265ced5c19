"""Fixtures of the operator's tests; the fake cluster and the small worlds lie beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# The CEL library sets this limit when it is first used; hypothesis warns if that happens in a test.
sys.setrecursionlimit(2500)

import tuning  # noqa: E402 - the path is set above
from small_world import World  # noqa: E402


@pytest.fixture
def world() -> Iterator[World]:
    """A cluster with an operator of plain settings; files that need others have their own."""
    made = World()
    yield made
    made.close()


@pytest.fixture
def model_of_champion(world: World) -> None:
    """A model in the world that serves what the job `tuning` releases."""
    world.create(tuning.model_of_champion())
