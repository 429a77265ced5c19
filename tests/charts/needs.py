"""What these tests need of a machine, and what becomes of them where it is missing."""

import os
from pathlib import Path

import pytest
from testcluster.binaries import BinaryMissing, binary
from testcluster.programs import Name


def program(name: Name) -> Path:
    """Return a program, or skip the test where it cannot be built; never in CI."""
    try:
        return binary(name)
    except BinaryMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
