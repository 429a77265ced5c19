"""`nexus diff`, `golden` and `evaluate` for a person, in lines of 80 columns."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.evaluate import group_name, read_matrix, rows
from nexus_local.cli.experiments import listed, short
from nexus_local.cli.main import app
from nexus_local.cli.steps import places
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target

RESULT = {"cluster": "doc", "slices": {}, "latencyMs": 3.0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory in which a fine-tuning run left its results."""
    folder = tmp_path / "data" / "work" / "finetunes" / "default" / "tuning" / "run-1" / "evaluate"
    folder.mkdir(parents=True)
    for side, score in (("production", 0.25), ("candidate", 0.75)):
        row = {**RESULT, "id": "q-1", "answer": f"{side} " * 40, "metrics": {"f1": score}}
        (folder / f"{side}.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "data" / "objects.db").touch()
    return tmp_path / "data"


def nexus(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NEXUS_DATA_DIR": str(data), "COLUMNS": "80"}
    environment.pop("NEXUS_TRACKING_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "nexus_local", *words],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip


def test_diff_prints_what_changed_in_eighty_columns(data: Path) -> None:
    done = nexus(data, "diff", "run-1@production", "run-1")
    assert done.returncode == 0, done.stderr
    assert "1 items by f1: 1 better, 0 worse, 0 reworded, 0 the same" in done.stdout
    assert "f1       0.250    0.750   +0.500" in done.stdout
    assert "+0.500  q-1" in done.stdout
    assert max(map(cell_len, done.stdout.splitlines())) <= 80
    whole = nexus(data, "diff", "run-1@production", "run-1", "-o", "json")
    assert json.loads(whole.stdout)["better"][0]["by"] == 0.5


def test_diff_says_what_it_cannot_do(data: Path) -> None:
    gone = nexus(data, "diff", "run-1", "run-2")
    assert gone.returncode == 1
    assert "has no run run-2 with results" in " ".join(gone.stderr.split())
    assert not (data / "tracking.db").exists()  # looking makes nothing
    assert nexus(data, "diff", "run-1", "a b").returncode == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("diff", "run-1", "run-1", "--context", "kind"), UsageError),
        (("diff", "run-1", "run-1", "-o", "yaml"), UsageError),
        (("diff", "run-1", "run-1"), CliError),
        (("golden", "add", "--set", "x"), UsageError),
        (("golden", "add", "chatcmpl-1"), UsageError),
        (("golden", "list", "x"), UsageError),
        (("golden", "feedback", "--set=y"), UsageError),
        (("golden", "list", "--fact=z"), UsageError),
        (("evaluate", "--matrix", "gone.yaml"), CliError),
    ],
)
def test_what_can_be_told_at_once_is_told_at_once(
    tmp_path: Path, words: tuple[str, ...], error: type[CliError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEXUS_TRACKING_URL", raising=False)
    done = CliRunner().invoke(app, [*words], env={"NEXUS_DATA_DIR": str(tmp_path / "none")})
    assert type(done.exception) is error, done.output


def test_of_a_platform_elsewhere_only_its_registry_is_used(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("NEXUS_DATA_DIR", str(data))
    monkeypatch.setenv("NEXUS_TRACKING_URL", "http://mlflow:5000")
    monkeypatch.setenv("NEXUS_API_KEY", "key")
    elsewhere = places(Target(url="http://gateway:8080"), "experiment", ("NEXUS_API_KEY",))
    assert elsewhere == {"NEXUS_TRACKING_URL": "http://mlflow:5000", "NEXUS_API_KEY": "key"}
    here = places(Target(), "run-diff", ())
    assert here["NEXUS_WORK_URL"] == (data / "work").as_uri()
    assert here["NEXUS_TRACKING_URL"] == "http://mlflow:5000"
    monkeypatch.delenv("NEXUS_TRACKING_URL")
    assert places(Target(), "run-diff", ())["NEXUS_TRACKING_URL"].endswith("/data/tracking.db")


def test_an_answer_is_one_line_whatever_it_holds() -> None:
    assert short("a\n\tb\x1b[31m" + "c" * 100) == "a b�[31m" + "c" * 63 + "…"
    change = {"id": "x", "question": "q", "by": 1.0, "answerBefore": "", "answerAfter": "z"}
    lines = list(listed("better", [change] * 3, 2))
    assert lines[1] == "BETTER (3)"
    assert lines[-1].endswith("and 1 more (--limit, or -o json)")
    assert list(listed("better", [change], 0)) == []


def test_the_table_of_an_experiment_fits_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    run = {
        "run": "prompts-20260101-120000.63",
        "model": "a-model-with-a-name:and-an-adapter",
        "prompt": "a prompt of many words",
        "retrieval": "a search of many words",
        "means": {"exactMatch": 0.5},
        "gain": -0.25,
        "lower": -0.5,
        "upper": -0.1,
        "p50": 300_000.0,
    }
    told = rows([run, {**run, "gain": None, "p50": None}], "exactMatch")
    assert (told[0][0], told[0][5], told[1][5], told[1][6]) == ("63", "-0.250*", "-", "-")
    heads = ("RUN", "MODEL", "PROMPT", "RETRIEVAL", "EXACT", "GAIN", "P50 MS")
    print_table(Console(width=80), heads, told)
    assert max(map(cell_len, capsys.readouterr().out.splitlines())) <= 80


def test_a_matrix_is_read_as_data(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("models: [a]\ngoldenSet: g.jsonl\n")
    assert read_matrix(path) == {"models": ["a"], "goldenSet": "g.jsonl"}
    for text in ("a: [", "!!python/object/apply:os.system [id]", "when: 2026-01-01", "x: .nan"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"m\.yaml"):
            read_matrix(path)
    with pytest.raises(UsageError, match="No such file"):
        read_matrix(tmp_path / "gone.yaml")


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_any_name_makes_a_name_of_runs(name: str) -> None:
    group = group_name(name, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", group)
    assert group.endswith("-20260102-030405")
