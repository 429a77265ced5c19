"""`nexus diff` for a person: from the stores of a data directory to lines of 80 columns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from nexus_local.cli.experiments import listed, short

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


def test_diff_says_what_it_cannot_do(data: Path, tmp_path: Path) -> None:
    gone = nexus(data, "diff", "run-1", "run-2")
    assert (gone.returncode, "has no run run-2 with results" in " ".join(gone.stderr.split())) == (
        1,
        True,
    )
    assert nexus(data, "diff", "run-1", "a b").returncode == 2
    assert nexus(data, "diff", "run-1", "run-1", "--context", "kind").returncode == 2
    assert nexus(tmp_path / "none", "diff", "run-1", "run-1").returncode == 1


def test_an_answer_is_one_line_whatever_it_holds() -> None:
    assert short("a\n\tb\x1b[31m" + "c" * 100) == "a b�[31m" + "c" * 63 + "…"
    change = {"id": "x", "question": "q", "by": 1.0, "answerBefore": "", "answerAfter": "z"}
    lines = list(listed("better", [change] * 3, 2))
    assert lines[1] == "BETTER (3)"
    assert lines[-1].endswith("and 1 more (--limit, or -o json)")
    assert list(listed("better", [change], 0)) == []


def test_golden_says_how_it_is_used(data: Path) -> None:
    for words in (("add",), ("add", "chatcmpl-1"), ("list", "x"), ("feedback", "--set=y")):
        done = nexus(data, "golden", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "nexus golden" in done.stderr
