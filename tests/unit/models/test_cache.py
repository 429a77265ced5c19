import os
import shutil
import threading
from pathlib import Path

import pytest

from nexus_models import (
    AmbiguousModel,
    Cache,
    CacheBusy,
    DigestMismatch,
    ModelFormat,
    UnsafeModel,
)
from nexus_models.locks import exclusive

ORIGIN = "pkg://tiny"


class Source:
    """Copies a directory as a fetch would, and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0

    def __call__(self, into: Path) -> Path:
        self.calls += 1
        return Path(shutil.copytree(self.folder, into / "unpacked"))


@pytest.fixture
def source(tiny_model: Path) -> Source:
    return Source(tiny_model)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_only_data_files_are_kept(cache: Cache, source: Source) -> None:
    model = cache.entry(ORIGIN, source)
    assert model.format is ModelFormat.SAFETENSORS
    kept = {path.name for path in cache.root.glob("entries/*/files/**/*") if path.is_file()}
    assert kept == {"model.safetensors", "config.json"}
    assert model.weights == (model.dir / "model.safetensors",)


def test_second_open_fetches_nothing(cache: Cache, source: Source) -> None:
    first = cache.entry(ORIGIN, source)
    assert cache.entry(ORIGIN, source) == first
    assert source.calls == 1


def test_touched_file_is_hashed_again_and_then_remembered(cache: Cache, source: Source) -> None:
    model = cache.entry(ORIGIN, source)
    note = next(cache.root.glob("entries/*/manifest.json"))
    before = note.read_text()
    model.weights[0].touch()
    assert cache.entry(ORIGIN, source).digest == model.digest
    assert source.calls == 1
    assert note.read_text() != before


def test_damaged_file_is_fetched_again(
    cache: Cache, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    model = cache.entry(ORIGIN, source)
    good = model.weights[0].read_bytes()
    model.weights[0].write_bytes(good[:-1] + b"\x00")
    assert cache.entry(ORIGIN, source).weights[0].read_bytes() == good
    assert source.calls == 2
    assert "damaged" in caplog.text


@pytest.mark.parametrize("content", ["", "[]", '{"version": 99}', '{"version": 1}'])
def test_damaged_manifest_is_fetched_again(cache: Cache, source: Source, content: str) -> None:
    model = cache.entry(ORIGIN, source)
    next(cache.root.glob("entries/*/manifest.json")).write_text(content)
    assert cache.entry(ORIGIN, source).digest == model.digest
    assert source.calls == 2


def test_source_that_changes_its_bytes_is_refused(
    cache: Cache, source: Source, tiny_model: Path
) -> None:
    model = cache.entry(ORIGIN, source)
    shutil.rmtree(model.dir.parent)
    (tiny_model / "pkg" / "model" / "config.json").write_text('{"other": 1}')
    with pytest.raises(DigestMismatch, match=r"other bytes.*delete"):
        cache.entry(ORIGIN, source)
    assert not list(cache.root.glob("entries/*"))


def test_failed_fetch_leaves_nothing(cache: Cache) -> None:
    def broken(into: Path) -> Path:
        (into / "half.safetensors").write_bytes(b"x")
        raise OSError("line cut")

    with pytest.raises(OSError, match="line cut"):
        cache.entry(ORIGIN, broken)
    assert not list(cache.root.glob("entries/*"))


def test_what_a_killed_fetch_left_is_removed_by_the_next(cache: Cache, source: Source) -> None:
    def killed(into: Path) -> Path:
        shutil.copytree(into.parent, into.parent.with_name(into.parent.name + "-killed"))
        raise OSError("SIGKILL")

    with pytest.raises(OSError, match="SIGKILL"):
        cache.entry(ORIGIN, killed)
    assert list(cache.root.glob("entries/.fetching-*"))
    cache.entry(ORIGIN, source)
    assert not list(cache.root.glob("entries/.fetching-*"))


def test_pickles_alone_are_refused(cache: Cache, tiny_model: Path, source: Source) -> None:
    (tiny_model / "pkg" / "model" / "model.safetensors").unlink()
    with pytest.raises(UnsafeModel, match="pickled"):
        cache.entry(ORIGIN, source)


def test_two_models_side_by_side_must_be_named(
    cache: Cache, tiny_model: Path, source: Source
) -> None:
    shutil.copytree(tiny_model / "pkg" / "model", tiny_model / "pkg" / "other")
    with pytest.raises(AmbiguousModel, match="several models"):
        cache.entry(ORIGIN, source)


def test_links_are_not_followed_out_of_the_package(
    cache: Cache, tiny_model: Path, source: Source, tmp_path: Path
) -> None:
    (tmp_path / "secret.json").write_text("{}")
    source.folder = tmp_path / "linked"

    def obtain(into: Path) -> Path:
        shutil.copytree(tiny_model, into / "unpacked")
        (into / "unpacked" / "pkg" / "model" / "secret.json").symlink_to(tmp_path / "secret.json")
        return into / "unpacked"

    assert not (cache.entry(ORIGIN, obtain).dir / "secret.json").exists()


def test_model_in_place_is_hashed_once_until_it_changes(cache: Cache, tiny_model: Path) -> None:
    first = cache.in_place("file:///m", tiny_model)
    assert first.dir == tiny_model / "pkg" / "model"
    assert cache.in_place("file:///m", tiny_model) == first
    (first.dir / "config.json").write_text('{"changed": true}')
    assert cache.in_place("file:///m", tiny_model).digest != first.digest


def test_single_file_in_place_takes_no_neighbours(cache: Cache, tiny_model: Path) -> None:
    weights = tiny_model / "pkg" / "model" / "model.safetensors"
    assert cache.in_place("file:///m", weights).weights == (weights,)


def test_derived_file_is_built_once_and_never_seen_half_done(cache: Cache) -> None:
    builds = []

    def build(path: Path) -> None:
        builds.append(path)
        assert not list(cache.root.glob("derived/*/graph.onnx"))
        path.write_text("done")

    for _ in range(2):
        assert cache.derived("ab" * 32, "graph.onnx", build).read_text() == "done"
    assert len(builds) == 1


def test_derived_file_is_on_the_disk_before_it_has_its_name(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        assert not list(cache.root.glob("derived/*/graph.onnx"))
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", sync)
    made = cache.derived("ab" * 32, "graph.onnx", lambda path: path.touch())
    assert synced == [made.stat().st_ino]


def test_derived_folder_is_on_the_disk_with_all_that_it_holds(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    def build(path: Path) -> None:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "model.safetensors").write_bytes(b"weights")

    made = cache.derived("ab" * 32, "safetensors-1", build)
    inside = {path.stat().st_ino for path in made.rglob("*")}
    assert synced[-1] == made.stat().st_ino  # a folder after what it holds
    assert set(synced[:-1]) == inside


def test_concurrent_callers_fetch_once(cache: Cache, source: Source) -> None:
    digests: list[str] = []
    threads = [
        threading.Thread(target=lambda: digests.append(cache.entry(ORIGIN, source).digest))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.calls == 1
    assert len(digests) == 8
    assert len(set(digests)) == 1


def test_lock_that_is_held_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "m.lock"
    with exclusive(path, deadline=1), pytest.raises(CacheBusy, match=r"m\.lock"):  # noqa: SIM117
        with exclusive(path, deadline=0):
            pass
