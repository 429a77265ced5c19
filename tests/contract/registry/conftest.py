"""The registry on both of its places: SQLite in this process, and a real MLflow server."""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from mlflow_server import MlflowServer, needed_mlflow_environment

from nexus_registry import Champions, Tracker, Version, Versions

sys.path.insert(0, str(Path(__file__).parent))

from registry_world import NOW, Counted

_numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One MLflow server for the session."""
    one = MlflowServer(tmp_path_factory.mktemp("mlflow"), needed_mlflow_environment())
    one.start()
    yield one
    one.kill()


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking')}/tracking.db"


@pytest.fixture(params=["sqlite", "server"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    if request.param == "sqlite":
        return sqlite_url
    server: MlflowServer = request.getfixturevalue("server")
    return server.url


@pytest.fixture
def connection(url: str) -> Counted:
    return Counted(url)


@pytest.fixture
def champions(connection: Counted) -> Champions:
    return Champions(connection)


@pytest.fixture
def versions(connection: Counted) -> Versions:
    return Versions(connection)


@pytest.fixture
def tracker(connection: Counted) -> Tracker:
    return Tracker(connection, f"tenant.job-{next(_numbers)}")


@pytest.fixture
def model() -> str:
    return f"tenant.job-{next(_numbers)}"


@pytest.fixture
def register(tracker: Tracker, versions: Versions, model: str) -> Callable[..., Version]:
    """Register versions of the test's model, the n-th with content n."""

    def one(number: int, **tags: str) -> Version:
        run = tracker.run(f"run-{number}", name="run", started=NOW)
        return versions.register(
            model,
            digest=f"{number:064x}",
            source=f"s3://nexus-models/{model}/{number}",
            run_id=run.id,
            tags={name.replace("_", "."): value for name, value in tags.items()},
        )

    return one
