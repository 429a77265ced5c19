"""The test cluster itself: what it says when it cannot be, and that it leaves nothing behind."""

import time
from pathlib import Path

import pytest
from testcluster.binaries import BinaryMissing, binary
from testcluster.control_plane import ControlPlane

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]


def test_without_go_the_reason_names_what_is_missing_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BinaryMissing, match=r"install Go .*cluster\.py build"):
        binary("kube")


def test_failed_build_is_told_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nice = tmp_path / "nice"
    nice.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "go").write_text("", encoding="utf-8")
    for file in tmp_path.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BinaryMissing, match=r"could not be built \(no such module\)"):
        binary("etcd")


def test_second_control_plane_starts_in_seconds_and_leaves_nothing(
    control_plane: ControlPlane,
) -> None:
    began = time.monotonic()
    with ControlPlane() as second:
        took = time.monotonic() - began
        assert second.url != control_plane.url
        folder, pids = second.folder, second.pids()
        assert second.client.get("/version").json()["major"] == "1"
    assert not folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert took < 30  # three seconds on an idle machine
