"""What tests need of a machine, and what becomes of them where it is missing."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from testcluster.binaries import BinaryMissing, binary
from testcluster.programs import Name


def in_ci() -> bool:
    """Say whether this is CI: every value of the variable but the empty one says so."""
    return bool(os.environ.get("CI"))


def lacking(what: str | Exception) -> NoReturn:
    """End a test whose machine lacks something: it is left out by name, but in CI it fails.

    A fixture may say it for all tests that use it; `what` tells how the machine gets it.
    """
    __tracebackhide__ = True
    if in_ci():
        pytest.fail(f"nothing is left out in CI: {what}")
    pytest.skip(str(what))


def program(name: Name) -> Path:
    """Return a program of the test cluster; where it cannot be built it is lacking."""
    try:
        return binary(name)
    except BinaryMissing as error:
        lacking(error)
