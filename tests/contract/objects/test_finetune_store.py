"""The objects of a fine-tuning run, in every kind of object store."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_knowledge.errors import InvalidKey
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.finetune.store import FineTuneStore, RunObjectMissing, inputs_digest
from nexus_pipelines.finetune.teardown.core import remove_runs

ROWS: list[dict[str, Any]] = [{"id": str(n), "text": "Prüfdruck 4 bar\u2028ok"} for n in range(3)]


@pytest.fixture
def run(store: ObjectStore) -> FineTuneStore:
    return FineTuneStore(store, "team", "support", "support-1")


def test_json_and_lines_come_back_as_they_went_in(run: FineTuneStore) -> None:
    run.put_json("select/selection.json", {"b": 1, "a": ["ü"]})
    written = run.put_lines("select/train.jsonl", iter(ROWS))
    assert run.json("select/selection.json") == {"a": ["ü"], "b": 1}
    assert list(run.lines("select/train.jsonl")) == ROWS
    assert written.lines == len(ROWS)
    assert run.put_lines("again.jsonl", ROWS).digest == written.digest


def test_what_is_missing_names_the_step_that_writes_it(run: FineTuneStore) -> None:
    with pytest.raises(RunObjectMissing, match=r"support-1 has no train/training.json.*'train'"):
        run.json("train/training.json")
    assert run.find_json("train/training.json") is None
    assert not run.has("train/training.json")
    run.delete("train/training.json")


def test_lines_that_break_off_leave_what_was_there(run: FineTuneStore) -> None:
    run.put_lines("select/train.jsonl", ROWS)

    def breaking() -> Iterator[dict[str, Any]]:
        yield {"id": "new"}
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        run.put_lines("select/train.jsonl", breaking())
    assert list(run.lines("select/train.jsonl")) == ROWS


def test_folders_come_back_without_links(run: FineTuneStore, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.safetensors").write_bytes(b"\0\1" * 70_000)
    (folder / "deep" / "b.json").write_text("{}")
    (folder / "link").symlink_to("/etc/hostname")
    written = run.put_folder("train/adapter", folder)
    assert sorted(written) == ["a.safetensors", "deep/b.json"]
    back = run.fetch_folder("train/adapter", tmp_path / "back")
    assert [path.relative_to(tmp_path / "back").as_posix() for path in back] == sorted(written)
    assert (tmp_path / "back/a.safetensors").read_bytes() == b"\0\1" * 70_000
    run.delete_folder("train/adapter")
    assert run.names("train") == []


def test_a_step_is_done_for_the_inputs_that_it_had(run: FineTuneStore) -> None:
    first, second = inputs_digest(seed=1), inputs_digest(seed=2)
    assert run.outcome("select", first) is None
    run.finish("select", first, {"train": 3})
    assert run.outcome("select", first) == {"train": 3}
    assert run.outcome("select", second) is None


@pytest.mark.parametrize("name", ["../other/x", "a//b", "", "/x"])
def test_no_name_leads_out_of_the_run(run: FineTuneStore, name: str) -> None:
    with pytest.raises(InvalidKey):
        run.put_json(name, 1)


def test_clean_up_keeps_this_run_the_newest_and_other_jobs(
    store: ObjectStore, run: FineTuneStore
) -> None:
    other = FineTuneStore(store, "team", "support-2", "support-2-1")
    other.put_json("select/done.json", {})
    run.put_json("select/done.json", {})
    for number in range(2, 6):
        sibling = run.sibling(f"support-{number}")
        sibling.put_json("select/done.json", {})
        sibling.put_json("train/done.json", {})
    store.put("finetunes/team/support/stray", io.BytesIO(b"x"), size=1)
    kept = set(run.runs()) - set(run.clean_up(keep=2))
    assert kept == set(run.runs())
    assert "support-1" in kept
    assert len(kept) == 3
    assert other.has("select/done.json")


def test_the_end_of_a_job_removes_its_runs_and_nothing_of_others(
    store: ObjectStore, run: FineTuneStore
) -> None:
    def selected(one: FineTuneStore, **made: str) -> FineTuneStore:
        one.put_lines("select/train.jsonl", ROWS)
        one.put_json("train/checkpoints/state.json", {})
        one.put_json("select/selection.json", made)
        return one

    selected(run, uid="old")
    selected(run.sibling("by-a-release-before-uids"))
    run.sibling("killed-while-it-chose").put_lines("select/train.jsonl", ROWS)
    newer = selected(run.sibling("of-a-newer-job"), uid="new")
    neighbour = selected(FineTuneStore(store, "team", "support-2", "support-2-1"), uid="old")
    elsewhere = selected(FineTuneStore(store, "other", "support", "support-1"), uid="old")
    store.put("team/support/0123456789abcdef/unit.json", io.BytesIO(b"{}"), size=2)
    removed = remove_runs(FineTuneStore(store, "team", "support", run=""), "old")
    assert sorted(removed) == ["by-a-release-before-uids", "killed-while-it-chose", "support-1"]
    assert newer.runs() == ["of-a-newer-job"]
    for other in (newer, neighbour, elsewhere):
        assert len(other.names()) == 3
    assert store.stat("team/support/0123456789abcdef/unit.json").size == 2
    assert remove_runs(FineTuneStore(store, "team", "support", run=""), "old") == []
