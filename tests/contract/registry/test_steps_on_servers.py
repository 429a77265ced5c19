"""The steps as on a cluster: models in S3, the registry behind HTTP, as nexus-stack sets it up."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from finished_run import JOB, NAMESPACE, arguments, finished_run, read
from minio_server import MinioServer
from mlflow_server import MlflowServer

from nexus_api.release import adapter_digest
from nexus_models import ModelFormat
from nexus_models.adapters import fetch_adapter
from nexus_pipelines import cli
from nexus_registry import Champions, Connection, Versions

VALUES = Path(__file__).parents[3] / "charts" / "nexus-stack" / "values.yaml"


@pytest.fixture
def minio(tmp_path: Path) -> Iterator[MinioServer]:
    one = MinioServer(tmp_path / "minio")
    one.start()
    for bucket in ("nexus-work", "nexus-models"):
        one.access.client().make_bucket(bucket)
    yield one
    one.stop()


def test_from_a_run_in_s3_to_a_champion_and_back(
    minio: MinioServer, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        **minio.environment_of_steps,
        "NEXUS_WORK_URL": "s3://nexus-work",
        "NEXUS_MODELS_URL": "s3://nexus-models",
        "NEXUS_TRACKING_URL": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out.json"
    for number in (1, 2):
        run = f"s3-run-{number}"
        before = b"adapter 1" if number > 1 else None
        adapter = f"adapter {number}".encode()
        finished_run("s3://nexus-work", run, adapter=adapter, champion=before)
        assert cli.run(arguments("register", run, f"--version-out={out}")) == 0
        version = read(out)
        assert version["version"] == str(number)
        told = arguments("release", run, f"--version={number}", "--by=gate", f"--release-out={out}")
        assert cli.run(told) == 0
    released = read(out)
    assert str(released["uri"]).startswith(f"s3://nexus-models/{NAMESPACE}/{JOB}/")
    served = fetch_adapter(
        str(released["uri"]),
        ModelFormat.SAFETENSORS,
        cache=tmp_path / "cache",
        digest=str(released["digest"]),
    )
    assert served.files[-1].read_bytes() == b"adapter 2"
    assert cli.run(arguments("rollback", "s3-down", "--by=anna", f"--release-out={out}")) == 0
    assert read(out)["champion"] == "1"
    trail = Champions(Connection(server.url)).trail(f"{NAMESPACE}.{JOB}")
    assert [(move.after, move.by) for move in trail] == [
        *(("1", "gate"), ("2", "gate"), ("1", "anna"))
    ]


def test_a_server_that_cannot_see_the_models_folder_holds_the_version_itself(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop with an MLflow server: what serves is the folder, held against one digest."""
    for name, value in {
        "NEXUS_WORK_URL": (tmp_path / "work").as_uri(),
        "NEXUS_MODELS_URL": (tmp_path / "models").as_uri(),
        "NEXUS_TRACKING_URL": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    out, job = tmp_path / "out.json", "--job=laptop"
    finished_run((tmp_path / "work").as_uri(), "run-1")
    runs = tmp_path / "work" / "finetunes" / NAMESPACE
    (runs / JOB).rename(runs / "laptop")
    told = [*arguments("register", "run-1", f"--version-out={out}"), job]
    assert cli.run(told) == 0
    version = read(out)
    (folder,) = (tmp_path / "models" / NAMESPACE / "laptop").iterdir()
    assert version["uri"] == folder.as_uri()
    release = ["--version=1", "--by=gate", f"--release-out={out}"]
    assert cli.run([*arguments("release", "run-1", *release), job]) == 0
    assert read(out)["uri"] == version["uri"]
    served = fetch_adapter(
        folder.as_uri(),
        ModelFormat.GGUF,
        cache=tmp_path / "cache",
        digest=str(version["digest"]),
    )
    assert [path.name for path in served.files] == ["adapter.gguf"]

    connection = Connection(server.url)
    made = Versions(connection).version(f"{NAMESPACE}.laptop", "1")
    assert made.source == f"runs:/{version['mlflowRun']}/version"
    copied = connection.call(
        "fetch the version",
        lambda client: client.download_artifacts(made.run_id, "version", str(tmp_path)),
    )
    files = {path.name: path.read_bytes() for path in Path(copied).iterdir()}
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert adapter_digest(digests) == version["digest"] == made.tags["nexus.adapter"]


def test_the_charts_server_answers_its_names_and_probes_and_nobody_else(
    server: MlflowServer, tmp_path: Path
) -> None:
    settings = yaml.safe_load(VALUES.read_text())["mlflow"]["env"]
    one = MlflowServer(tmp_path / "mlflow", Path(server.command[0]).parents[1])
    one.environment = {**(one.environment or {}), **settings}
    one.start()
    try:
        asks = "/api/2.0/mlflow/registered-models/search"
        for host, path, status in (
            ("nexus-mlflow:5000", asks, 200),
            ("nexus-mlflow.nexus-system.svc.cluster.local:5000", asks, 200),
            ("localhost:5000", asks, 200),
            ("10.88.0.7:5000", "/health", 200),  # how a kubelet asks
            ("evil.example.org", asks, 403),
        ):
            assert _asked(one.url + path, host) == status, host
    finally:
        one.kill()


def _asked(url: str, host: str) -> int:
    request = urllib.request.Request(url, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
