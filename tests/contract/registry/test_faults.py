"""MLflow that is away, comes back, refuses, or dies in the middle: nothing lost, nothing hangs."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow_server import MlflowServer
from ports import free_port
from registry_world import NOW, asked

from nexus_registry import (
    BadTrackingUrl,
    Champions,
    Connection,
    NotFound,
    Tracker,
    Unavailable,
    Versions,
)


@pytest.mark.parametrize(
    "url",
    [
        *("", "file:///tmp/mlruns", "sqlite:///relative.db", "postgresql://u:secret@h/db"),
        *("http://", "databricks", "sqlite://"),
    ],
)
def test_an_address_that_is_not_offered_says_which_are(url: str) -> None:
    with pytest.raises(BadTrackingUrl, match="http://mlflow:5000 or sqlite:////an") as refused:
        Connection(url)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_away_is_asked_a_bounded_number_of_times() -> None:
    waits: list[float] = []
    connection = Connection(
        f"http://anna:secret@127.0.0.1:{free_port()}", attempts=4, sleep=waits.append
    )
    with pytest.raises(Unavailable, match="in 4 attempts; last:") as away:
        Tracker(connection, "tenant.job").run("key", name="run", started=NOW)
    assert away.value.transient
    assert "secret" not in str(away.value)
    assert len(waits) == 3
    assert all(0.25 * 2**n <= wait <= 0.75 * 2**n for n, wait in enumerate(waits))


def test_a_server_that_comes_back_finds_the_work_go_on(server: MlflowServer, model: str) -> None:
    tracker = Tracker(Connection(server.url), model)
    run = tracker.run("before", name="run", started=NOW)
    run.params({"seed": 1})
    server.kill()
    waits: list[float] = []

    def comes_back(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            server.start()

    again = Tracker(Connection(server.url, sleep=comes_back), model)
    assert again.run("before", name="run", started=NOW).id == run.id
    assert len(waits) == 2
    versions, champions = Versions(Connection(server.url)), Champions(Connection(server.url))
    version = versions.register(
        model, digest="1" * 64, source="s3://nexus-models/a", run_id=run.id, tags={}
    )
    champions.promote(model, version.number, asked())
    server.kill()
    server.start()
    assert champions.releases(model).champion == "1"


def test_an_answer_that_never_comes_ends_by_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        connection = Connection(url, attempts=2, sleep=lambda _: None)
        with pytest.raises(Unavailable, match=r"tenant\.job.*imeout|timed out"):
            Champions(connection).releases("tenant.job")


def test_a_locked_database_is_waited_for_and_then_named(tmp_path: Path) -> None:
    file = tmp_path / "tracking.db"
    tracker = Tracker(Connection(f"sqlite:///{file}"), "tenant.job")
    tracker.run("one", name="run", started=NOW)

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def unlocked(_: float) -> None:
            other.execute("ROLLBACK")

        again = Tracker(Connection(f"sqlite:///{file}", sleep=unlocked), "tenant.job")
        assert again.run("two", name="run", started=NOW).id


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    connection = Connection(
        f"sqlite:///{tmp_path}/file/tracking.db", attempts=2, sleep=lambda _: None
    )
    with pytest.raises(Unavailable, match=r"file/tracking\.db"):
        Tracker(connection, "tenant.job").run("one", name="run", started=NOW)


def test_a_model_that_is_not_there_is_not_found(url: str) -> None:
    with pytest.raises(NotFound, match="nobody"):
        Champions(Connection(url)).releases("tenant.nobody")


def test_nothing_is_said_on_standard_output_and_nobody_else_is_told(tmp_path: Path) -> None:
    program = f"""
import sys
from datetime import datetime, UTC
from nexus_registry import Connection, Tracker
run = Tracker(Connection("sqlite:///{tmp_path}/t.db"), "a.b").run(
    "k", name="n", started=datetime.now(UTC))
run.text("a.txt", "b")
run.finish()
import mlflow.telemetry.client
assert mlflow.telemetry.client.get_telemetry_client() is None
assert "git" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "t" / "a.b").is_dir()
