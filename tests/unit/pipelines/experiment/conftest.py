"""One MLflow database for the tests of this folder: making one takes seconds."""

import pytest


@pytest.fixture(scope="session")
def tracking_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking')}/tracking.db"
