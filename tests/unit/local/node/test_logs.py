"""Logs: the end of a file however large, and rotation."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_local.node import logs
from nexus_local.node.folders import Folders, rotated
from nexus_operator.cluster.protocol import Ref


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(alphabet="ab\u00fc", max_size=9), max_size=12),
    st.booleans(),
    st.integers(0, 12),
    st.integers(0, 14),
)
def test_tail_is_the_last_lines_of_both_parts(
    tmp_path: Path, lines: list[str], ended: bool, split: int, count: int
) -> None:
    whole = [line + "\n" for line in lines]
    if whole and not ended:
        whole[-1] = whole[-1][:-1]
    older, newer = "".join(whole[:split]), "".join(whole[split:])
    log = tmp_path / "0.log"
    log.write_bytes(newer.encode())
    rotated(log).write_bytes(older.encode())
    text, end = logs.tail(log, count)
    kept = (older + newer).encode().splitlines(keepends=True)
    assert text == b"".join(kept[len(kept) - min(count, len(kept)) :])
    assert end == len(newer.encode())
    assert logs.tail(log, None)[0] == (older + newer).encode()


def test_tail_of_a_large_log(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert logs.tail(log, 2)[0] == b"line 99998\nline 99999\n"


def test_rotation_keeps_what_was_there_and_the_open_file_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    with log.open("a") as writer:
        writer.write("x" * 100 + "\n")
        writer.flush()
        assert logs.rotate(log, largest=100)
        writer.write("after\n")
        writer.flush()
    assert log.read_text() == "after\n"
    assert rotated(log).read_text() == "x" * 100 + "\n"
    assert not logs.rotate(log, largest=100)
    assert not logs.rotate(tmp_path / "missing.log")


def test_log_that_cannot_be_rotated_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "0.log"
    log.write_text("x" * 100)
    rotated(log).mkdir()  # as little to be written to as a full disk
    assert not logs.rotate(log, largest=10)
    assert log.read_text() == "x" * 100
    assert "is not rotated" in caplog.text


def test_files_that_a_desktop_leaves_are_no_pods_and_no_logs(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    assert list(folders.known_pods()) == []
    folders.new_log("default", "a").touch()
    for place in (folders.pods, folders.pods / "default", folders.logs("default", "a")):
        (place / ".DS_Store").touch()
    (folders.logs("default", "a") / "own.log").touch()
    assert list(folders.known_pods()) == [("default", "a")]
    assert [log.name for log in folders.log_files("default", "a")] == ["0.log"]


def test_logs_of_this_run_and_the_one_before_are_kept(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    for number in range(12):
        folders.new_log("default", "a").write_text(str(number))
    assert [log.read_text() for log in folders.log_files("default", "a")] == ["10", "11"]
    assert list(folders.known_pods()) == [("default", "a")]
    folders.forget("default", "a")
    assert list(folders.known_pods()) == []


def test_what_a_pod_printed_is_that_of_its_last_start(tmp_path: Path) -> None:
    folders, pod = Folders(tmp_path), Ref("v1", "Pod", "system", "train")
    assert logs.printed(folders, pod, 5) is None
    folders.new_log("system", "train").write_text("old\n")
    folders.new_log("system", "train").write_bytes(b"one\ntwo \xff\n")
    assert logs.printed(folders, pod, 1) == "two \ufffd\n"
    folders.log_files("system", "train")[-1].write_text("x" * 200_000)
    assert len(logs.printed(folders, pod, 1) or "") == 65536


def test_log_of_a_pod_that_goes_away_meanwhile_is_as_one_that_was_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders(tmp_path)
    folders.new_log("default", "a").write_text("progress\n")
    listed = folders.log_files("default", "a")
    monkeypatch.setattr(Folders, "log_files", lambda *_: listed)
    looked = Path.exists

    def look(path: Path) -> bool:
        found = looked(path)
        folders.forget("default", "a")
        return found

    monkeypatch.setattr(Path, "exists", look)
    assert logs.printed(folders, Ref("v1", "Pod", "default", "a"), 3) is None
