"""`run-diff`: two runs from the work store or MLflow become what changed, item by item."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_evaluation.golden import GoldenItem, GoldenSet, write
from nexus_evaluation.results import ItemResult, Slices
from nexus_evaluation.results import write as write_results
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.cli import run
from nexus_pipelines.errors import UsageError
from nexus_pipelines.experiment.run_diff.cli import compared
from nexus_pipelines.experiment.stored import (
    RunName,
    RunUnknown,
    Stored,
    experiments,
    from_rows,
    to_rows,
)
from nexus_registry import Connection, Tracker

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def result(name: str, f1: float, answer: str = "", **more: float) -> ItemResult:
    return ItemResult(
        id=name, cluster=name, slices=Slices(language="en"), answer=answer or f"{name} {f1}",
        metrics={"f1": f1, **more}, latency_ms=12.5,
    )  # fmt: skip


OLD = (result("a", 0.2), result("b", 0.9), result("c", 0.5), result("d", 0.5, "old"))
NEW = (result("a", 0.7), result("b", 0.1), result("c", 0.5), result("e", 0.5, "new"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setenv("NEXUS_WORK_URL", (tmp_path / "work").as_uri())
    monkeypatch.setenv("NEXUS_TRACKING_URL", f"sqlite:///{tmp_path}/tracking.db")
    return open_store((tmp_path / "work").as_uri())


def put(store: ObjectStore, key: str, content: bytes) -> None:
    store.put(key, io.BytesIO(content), size=len(content))


def left(store: ObjectStore, run_name: str, job: str = "tuning", namespace: str = "team") -> None:
    place = f"finetunes/{namespace}/{job}/{run_name}"
    put(store, f"{place}/evaluate/candidate.jsonl", write_results(NEW))
    put(store, f"{place}/evaluate/production.jsonl", write_results(OLD))
    golden = GoldenSet((GoldenItem(id="a", question="What of a?", references=("x",)),))
    put(store, f"{place}/select/golden.jsonl", write(golden))


def told(tmp_path: Path, before: str, after: str, *more: str) -> tuple[int, Any]:
    out = tmp_path / "out.json"
    words = ["run-diff", "--namespace=team", f"--before={before}", f"--after={after}"]
    code = run([*words, f"--diff-out={out}", *more])
    return code, json.loads(out.read_text()) if out.exists() else None


def test_production_and_candidate_of_one_run_are_compared(
    work: ObjectStore, tmp_path: Path
) -> None:
    left(work, "run-1")
    code, found = told(tmp_path, "run-1@production", "tuning/run-1")
    assert code == 0
    assert (found["metric"], found["items"], found["same"]) == ("f1", 3, 1)
    assert [(one["id"], one["question"]) for one in found["better"]] == [("a", "What of a?")]
    assert [(one["id"], round(one["by"], 3)) for one in found["worse"]] == [("b", -0.8)]
    assert (found["onlyBefore"], found["onlyAfter"]) == (["d"], ["e"])
    before, after = found["means"]["f1"]  # of the items that both have
    assert (round(before, 4), round(after, 4)) == (0.5333, 0.4333)


def test_a_run_that_is_tracked_alone_is_found_by_name_and_by_id(
    work: ObjectStore, tmp_path: Path, tracking_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_TRACKING_URL", tracking_url)
    connection = Connection(tracking_url)
    ids = []
    for number, results in enumerate((OLD, NEW)):
        tracked = Tracker(connection, experiments("team")).run(
            f"team/experiments/e-{number}", name=f"e-{number}", started=NOW
        )
        tracked.table("items.json", to_rows(results, {"b": "What of b?"}))
        ids.append(tracked.id)
    code, found = told(tmp_path, "e-0", ids[1])
    assert code == 0
    assert [one["question"] for one in found["worse"]] == ["What of b?"]
    assert told(tmp_path, "e-0", "e-7")[0] == 1


def test_what_names_no_run_or_two_says_so(
    work: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left(work, "run-1")
    left(work, "run-1", job="other")
    left(work, "run-9", namespace="elsewhere")
    assert told(tmp_path, "run-1", "run-1")[0] == 1
    assert "name one as other/run-1" in capsys.readouterr().err
    assert told(tmp_path, "tuning/run-1", "run-9")[0] == 1
    assert "namespace team has no run run-9 with results" in capsys.readouterr().err
    assert told(tmp_path, "../x", "run-1")[0] == 2
    assert told(tmp_path, "tuning/run-1", "other/run-1", "--metric=joy")[0] == 2
    assert "both runs have f1" in capsys.readouterr().err


def test_of_what_should_be_low_less_is_better() -> None:
    before = Stored("x", (result("a", 0.5, toxicity=0.5),))
    after = Stored("y", (result("a", 0.5, toxicity=0.1),))
    found = compared(before, after, "toxicity")
    assert [one["id"] for one in found["better"]] == ["a"]


def test_runs_without_a_common_item_are_not_compared() -> None:
    with pytest.raises(RunUnknown, match="no item in common"):
        compared(Stored("x", OLD[3:]), Stored("y", NEW[3:]), "f1")


@pytest.mark.parametrize("rows", [[], [{"id": "a"}], [{"id": "a", "document": "a", "f1": "x"}]])
def test_a_table_that_is_none_of_items_is_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(RunUnknown):
        from_rows("x", rows)


def test_a_run_that_was_compared_with_nothing_says_so() -> None:
    with pytest.raises(RunUnknown, match="compared with nothing"):
        from_rows("x@production", to_rows(NEW, {}), side="production")


SCORES = st.floats(0, 1).map(lambda value: round(value, 6))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.builds(
            ItemResult,
            id=st.text(min_size=1, max_size=8),
            cluster=st.text(min_size=1, max_size=8),
            slices=st.builds(Slices, language=st.sampled_from(["", "en"]), topic=st.text()),
            answer=st.text(),
            metrics=st.dictionaries(st.sampled_from(["f1", "bleu"]), SCORES, min_size=1),
            latency_ms=SCORES,
        ),
        min_size=1,
    )
)
def test_results_come_back_from_their_rows(results: list[ItemResult]) -> None:
    assert list(from_rows("x", to_rows(results, {})).results) == results


@pytest.mark.parametrize("text", ["", "a b", "job/", "x@candidate", "x@", "a/b/c", "-x", "../x"])
def test_what_is_no_name_of_a_run_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no run"):
        RunName.parse(text)


@pytest.mark.parametrize("text", ["run-1", "job.a/run-1", "run_1@production", "job/r@production"])
def test_names_are_written_as_they_are_read(text: str) -> None:
    assert str(RunName.parse(text)) == text
