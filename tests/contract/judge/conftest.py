"""The environment with ragas: installed where it may be, else the tests are left out by name."""

from pathlib import Path

import pytest
from judge_environment import needed_judge_python


@pytest.fixture(scope="session")
def ragas_python() -> Path:
    return needed_judge_python()
