"""Images without tools, definitions without texts, one cluster at a time, what a machine lacks."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
from testcluster import lock, requirements
from testcluster.cache import cached
from testcluster.config import ClusterConfig
from testcluster.definitions import without_descriptions
from testcluster.errors import ClusterBusy, ClusterUnavailable
from testcluster.identity import began
from testcluster.static_images import STATIC_IMAGES, StaticImage, write_archive

IMAGE = StaticImage("pod", "/bin/pod", ("pause",), {"HOME": "/tmp"})


def test_archive_has_one_layer_with_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"a program")
    write_archive("trial", IMAGE, program, tmp_path / "one.tar")
    with tarfile.open(tmp_path / "one.tar") as tar:

        def content(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(content("manifest.json"))
        assert manifest["RepoTags"] == ["docker.io/local/trial:test"]
        configuration = json.loads(content(manifest["Config"]))
        layer = content(manifest["Layers"][0])
    assert configuration["config"]["Entrypoint"] == ["/bin/pod"]
    assert configuration["config"]["Cmd"] == ["pause"]
    assert configuration["config"]["User"] == "65532:65532"
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        modes = {entry.name: oct(entry.mode) for entry in tar}
    assert modes == {"bin": "0o755", "tmp": "0o1777", "bin/pod": "0o755"}


def test_equal_programs_give_equal_archives(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"a program")
    for name in ("one.tar", "two.tar"):
        write_archive("trial", IMAGE, program, tmp_path / name)
        os.utime(program)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_names_of_images_are_file_names() -> None:
    assert all("/" not in name and ":" not in name for name in STATIC_IMAGES)


def test_texts_go_from_a_schema_and_a_field_called_description_stays() -> None:
    schema = {
        "description": "a text",
        "properties": {"description": {"type": "string", "description": "another"}},
        "items": [{"description": "a third", "type": "object"}],
    }
    assert without_descriptions(schema) == {
        "properties": {"description": {"type": "string"}},
        "items": [{"type": "object"}],
    }


def test_second_cluster_waits_and_says_for_whom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock"
    first = lock.acquire(0, path)
    with pytest.raises(ClusterBusy, match=rf"by process {os.getpid()}: wait .* down`"):
        lock.acquire(0, path)
    with pytest.raises(ClusterBusy):
        lock.acquire(3600, path)  # its own, which it is not left to wait for
    assert lock.user(path) is None
    os.close(first)
    os.close(lock.acquire(0, path))
    with pytest.raises(ClusterBusy):
        _wait_for_a_held_lock(path)
    assert "waiting for the test cluster that runs" in capsys.readouterr().err


def _wait_for_a_held_lock(path: Path) -> None:
    held = lock.acquire(0, path)
    path.write_text("1 12:00:00")
    try:
        lock.acquire(0.1, path)
    finally:
        os.close(held)


def test_cluster_of_another_living_process_is_known_as_in_use(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.acquire(0, path)
    for known in ("1 12:00:00", f"1 12:00:00 {began(1)}"):
        path.write_text(known)
        assert lock.user(path) == 1
    path.write_text(f"1 12:00:00 {began(1)}1")  # another process had the number before
    assert lock.user(path) is None
    path.write_text("4194999 12:00:00")  # above the highest process id
    assert lock.user(path) is None
    path.write_text("")  # just taken
    assert lock.user(path) is None
    os.close(held)
    assert lock.user(path) is None


def test_everything_that_a_machine_lacks_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterUnavailable) as caught:
        requirements.check(ClusterConfig(cni_plugins=tmp_path))
    for words in ("containerd", "containernetworking-plugins", "iptables", "run as root"):
        assert words in str(caught.value)


def test_half_made_thing_is_never_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(fresh: Path) -> None:
        fresh.mkdir()
        (fresh / "half").touch()
        raise RuntimeError("power cut")

    def succeed(fresh: Path) -> None:
        fresh.mkdir()
        (fresh / "whole").touch()

    with pytest.raises(RuntimeError):
        cached("key", "thing", fail)
    assert [path.name for path in cached("key", "thing", succeed).iterdir()] == ["whole"]
    assert cached("key", "thing", fail).exists()
