"""The environment with ragas: installed where it may be, else the tests are left out by name."""

from pathlib import Path

import pytest
from judge_environment import RagasMissing, judge_python
from needs import in_ci, lacking


@pytest.fixture(scope="session")
def ragas_python() -> Path:
    try:
        return judge_python(install=in_ci())
    except RagasMissing as error:
        lacking(error)
