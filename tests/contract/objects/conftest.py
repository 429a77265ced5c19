from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from minio_server import MinioServer

from nexus_knowledge.objects import ObjectStore, open_store

_numbers = count(1)


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """One MinIO for the session."""
    server = MinioServer(tmp_path_factory.mktemp("minio"))
    server.start()
    server.access.client().make_bucket("bucket")
    yield server
    server.stop()


@pytest.fixture(params=["directory", "minio"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "directory":
        return open_store((tmp_path / "bucket").as_uri())
    server: MinioServer = request.getfixturevalue("minio")
    for name, value in server.environment_of_steps.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://bucket/test {next(_numbers)}")
