"""The images that stand beside ours in tests serve, and keep what they were given."""

import importlib.metadata
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from children import Child
from ports import free_port, listens
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException
from sandbox import Sandbox
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

Unpack = Callable[[str], Sandbox]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PASSWORD = "a b'c"


@contextmanager
def serving(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[Child]:
    child = Child(command, log=log, ready=ready, seconds=300)
    try:
        child.start()
        yield child
    finally:
        child.kill()


def volume(folder: Path, user: str) -> Path:
    """Return a folder that belongs to the image's user, in places that it may pass through."""
    folder.mkdir()
    owner, _, group = user.partition(":")
    os.chown(folder, int(owner), int(group))
    return folder


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.parametrize("from_file", [False, True], ids=["password", "password-file"])
def test_postgresql_keeps_its_rows_over_a_kill(
    unpacked: Unpack, tmp_path: Path, from_file: bool
) -> None:
    image = unpacked("postgresql")
    data, port = volume(tmp_path / "data", image.config["User"]), free_port()
    secret = volume(tmp_path / "secret", image.config["User"]) / "password"
    secret.write_text(PASSWORD + "\n")
    password = (
        {"POSTGRES_PASSWORD_FILE": "/secret/password"}
        if from_file
        else {"POSTGRES_PASSWORD": PASSWORD}
    )
    sandbox = replace(
        image,
        volumes={
            "/var/lib/postgresql/data": data,
            "/run/postgresql": None,
            "/secret": secret.parent,
        },
        variables={"POSTGRES_USER": "nexus", "POSTGRES_DB": "nexus-1", **password},
    )

    def connect(password: str = PASSWORD) -> psycopg.Connection[tuple[str]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=port,
            user="nexus",
            password=password,
            dbname="nexus-1",
            connect_timeout=30,
        )

    def takes_connections() -> bool:
        try:
            connect().close()
        except psycopg.OperationalError:
            return False
        return True

    command = sandbox.entry_point("-p", str(port))
    with serving(command, tmp_path / "log", takes_connections) as server:
        with connect() as first:
            first.execute("create table t as select 'kept' as word")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect("wrong")
        server.kill()
        server.start()
        with connect() as second:
            assert second.execute("select word from t").fetchone() == ("kept",)
    assert PASSWORD not in (tmp_path / "log").read_text()


@retry(
    retry=retry_if_exception_type(MilvusException), stop=stop_after_delay(180), wait=wait_fixed(1)
)
def loaded_again(client: MilvusClient) -> None:
    """Load the collection; gRPC waits a little before it asks again who did not answer before."""
    client.load_collection("kept")


def test_milvus_lite_keeps_its_rows_over_a_kill(unpacked: Unpack, tmp_path: Path) -> None:
    image = unpacked("milvus-lite")
    data, port = volume(tmp_path / "data", image.config["User"]), free_port()
    sandbox = replace(image, volumes={"/var/lib/milvus": data})
    command = sandbox.entry_point(
        "--data-dir", "/var/lib/milvus", "--host", "127.0.0.1", "--port", str(port)
    )
    with serving(command, tmp_path / "log", lambda: listens(port)) as server:
        client = MilvusClient(f"http://127.0.0.1:{port}", timeout=60)
        client.create_collection("kept", dimension=4)
        client.insert("kept", [{"id": 1, "vector": [0.1, 0.2, 0.3, 0.4]}])
        client.close()
        server.kill()
        server.start()
        client = MilvusClient(f"http://127.0.0.1:{port}", timeout=60)
        loaded_again(client)
        assert client.query("kept", filter="id == 1", output_fields=["id"]) == [{"id": 1}]
        client.close()


def test_milvus_lite_is_the_version_that_the_laptop_runs(unpacked: Unpack) -> None:
    (found,) = unpacked("milvus-lite").root.glob(
        "opt/milvus-lite/lib/python3*/site-packages/milvus_lite-*.dist-info"
    )
    assert importlib.metadata.Distribution.at(found).version == importlib.metadata.version(
        "milvus-lite"
    )


def test_mlflow_answers(unpacked: Unpack, tmp_path: Path) -> None:
    image = unpacked("mlflow")
    sandbox = replace(image, volumes={"/data": volume(tmp_path / "data", image.config["User"])})
    port = free_port()
    command = sandbox.entry_point(
        "--host=127.0.0.1",
        f"--port={port}",
        "--backend-store-uri=sqlite:////data/mlflow.db",
        "--artifacts-destination=/data/artifacts",
        "--serve-artifacts",
        "--workers=1",
    )
    health = f"http://127.0.0.1:{port}/health"
    with serving(command, tmp_path / "log", lambda: answers(health)):
        assert (tmp_path / "data" / "mlflow.db").stat().st_size


@pytest.mark.parametrize(
    ("name", "settings", "arguments"),
    [
        (
            "prometheus",
            "scrape_configs: []\n",
            ["--config.file=/etc/nexus/settings.yaml", "--storage.tsdb.path=/tmp/data"],
        ),
        (
            "alertmanager",
            "route: {receiver: none}\nreceivers: [{name: none}]\n",
            [
                "--config.file=/etc/nexus/settings.yaml",
                "--storage.path=/tmp/data",
                "--cluster.listen-address=",
            ],
        ),
    ],
)
def test_prometheus_and_its_alertmanager_are_ready(
    unpacked: Unpack, tmp_path: Path, name: str, settings: str, arguments: list[str]
) -> None:
    folder = volume(tmp_path / "settings", unpacked(name).config["User"])
    (folder / "settings.yaml").write_text(settings)
    sandbox, port = replace(unpacked(name), volumes={"/etc/nexus": folder}), free_port()
    command = sandbox.entry_point(*arguments, f"--web.listen-address=127.0.0.1:{port}")
    ready = f"http://127.0.0.1:{port}/-/ready"
    with serving(command, tmp_path / "log", lambda: answers(ready)) as server:
        assert server.process is not None
