"""What every object store promises; run on each store there is."""

import errno
import io
import os
import random
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nexus_knowledge.errors import (
    InvalidKey,
    ObjectChanged,
    ObjectError,
    ObjectNotFound,
    ObjectTooLarge,
    UnsupportedUrl,
)
from nexus_knowledge.objects import MAX_KEY_BYTES, ObjectStore, open_store, read_listed
from nexus_knowledge.objects.directory import DirectoryStore


def put(store: ObjectStore, key: str, content: bytes = b"text") -> str:
    return store.put(key, io.BytesIO(content), size=len(content)).etag


def read(store: ObjectStore, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix))


AWKWARD = [
    "t/i/plain.txt", 't/i/quo"te\'s.txt', "t/i/new\nline.txt", "t/i/-dash", "t/i/ü\u0308ñ漢字🙂.md",
    "t/i/100%.txt", "t/i/%2e%2e", "t/i/a", "t/i/a.b", "t/i/A", "t/i/a b+c", ".nexus/etags.db",
    ".nexus/odd/x", "t/.nexus/y", "t/i/...", "t/i/ leading", "t/i/trailing ", "t/i/back\\slash",
    "t/i/tab\t*?[x]", "t/i/\x01\x7f\x85\ufffe", "t/\ufeff",
]  # fmt: skip
# A store may refuse these, which its disk or server cannot hold.
HARD = [
    "t/i/a/b", "t/i/a/b/c", "t/i/" + "x" * 300, "t/i/" + "ü" * 200 + "/deep", "t/i/ .. /x",
    "t/i/__XLDIR__", "t/i/xl.meta/x",
]  # fmt: skip


def put_what_fits(store: ObjectStore, wanted: Iterable[str]) -> list[str]:
    """Store each under its own name; give those that the store did not refuse."""
    held = []
    for key in wanted:
        try:
            put(store, key, key.encode())
        except InvalidKey:
            assert key in HARD or key == "t/i/a"
        else:
            held.append(key)
    return held


@pytest.mark.parametrize("order", ["as written", "reversed"])
def test_awkward_keys_are_kept_apart_and_listed_as_given(store: ObjectStore, order: str) -> None:
    wanted = AWKWARD + HARD
    held = put_what_fits(store, wanted if order == "as written" else reversed(wanted))
    assert set(held) >= set(AWKWARD) - {"t/i/a"}  # `a` or `a/b`, whichever came first
    assert keys(store) == sorted(held)
    for key in held:
        assert read(store, key) == key.encode()
        assert store.stat(key).size == len(key.encode())
    for key in wanted:
        store.delete(key)
    assert keys(store) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        ".",
        "a/./b",
        "nul\0",
        "x" * (MAX_KEY_BYTES + 1),
        "\ud800",
    ],
)
def test_keys_that_name_nothing_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidKey):
        put(store, key)
    with pytest.raises(InvalidKey):
        store.open(key)
    with pytest.raises(InvalidKey):
        store.delete(key)


def test_missing_objects(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        store.open("no/such")
    with pytest.raises(ObjectNotFound):
        store.stat("no/such")
    store.delete("no/such")
    put(store, "a", b"")
    with pytest.raises(ObjectNotFound):
        store.stat("a/b")
    put(store, "c/d", b"")
    with pytest.raises(ObjectNotFound):
        store.stat("c")


def test_etag_follows_the_content(store: ObjectStore) -> None:
    first = put(store, "k", b"one")
    assert store.stat("k").etag == first
    second = put(store, "k", b"two")
    assert second != first
    assert [info.etag for info in store.list("k")] == [second]
    assert put(store, "k", b"one") == first


def test_repeated_deletion_and_odd_prefixes(store: ObjectStore) -> None:
    put(store, "t/...", b"")
    assert keys(store, "t/..") == keys(store, "t/.") == ["t/..."]
    assert keys(store, "t//") == keys(store, "/") == keys(store, "nul\0") == []
    store.delete("t/...")
    store.delete("t/...")
    assert keys(store) == []


def test_prefix_is_text_not_a_folder(store: ObjectStore) -> None:
    for key in ("t/i/a", "t/index/a", "t/i/deep/b", "u/i/a"):
        put(store, key)
    assert keys(store, "t/i") == ["t/i/a", "t/i/deep/b", "t/index/a"]
    assert keys(store, "t/i/") == ["t/i/a", "t/i/deep/b"]
    assert keys(store, "t/none/") == []
    assert keys(store, "../") == []


def test_a_stream_of_another_length_stores_nothing(store: ObjectStore) -> None:
    put(store, "k", b"old")
    with pytest.raises(ObjectError, match="3 bytes came, 5 were announced"):
        store.put("k", io.BytesIO(b"new"), size=5)
    assert read(store, "k") == b"old"


class Broken(io.RawIOBase):
    def read(self, size: int = -1, /) -> bytes:
        raise ConnectionResetError(errno.ECONNRESET, "client went away")


def test_a_broken_upload_stores_nothing(store: ObjectStore) -> None:
    with pytest.raises(ObjectError):
        store.put("k", Broken())  # type: ignore[arg-type]
    assert keys(store) == []


def test_readers_see_whole_versions_while_others_write(store: ObjectStore) -> None:
    versions = [bytes([letter]) * 200_000 for letter in b"abcd"]
    put(store, "k", versions[0])
    done = threading.Event()

    def write() -> None:
        for _ in range(10):
            for version in versions:
                put(store, "k", version)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert read(store, "k") in versions
    writer.join()


def test_read_listed_notices_a_change(store: ObjectStore) -> None:
    etag = put(store, "k", b"one")
    assert read_listed(store, "k", etag=etag, limit=3) == b"one"
    with pytest.raises(ObjectTooLarge):
        read_listed(store, "k", etag=etag, limit=2)
    put(store, "k", b"two")
    with pytest.raises(ObjectChanged):
        read_listed(store, "k", etag=etag, limit=3)


segment = st.text(min_size=1, max_size=90).filter(lambda s: s not in {".", ".."} and "/" not in s)
some_keys = st.lists(segment, min_size=1, max_size=4).map("/".join)


def valid(key: str) -> bool:
    try:
        return "\0" not in key and len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.dictionaries(some_keys.filter(valid), st.binary(max_size=20), max_size=8))
@example({"a": b"1", "a/b": b"2", "a/b/c": b"3", "A": b"4"})
def test_any_set_of_keys_is_held_as_far_as_it_is_taken(
    store: ObjectStore, wanted: dict[str, bytes]
) -> None:
    for key in keys(store):
        store.delete(key)
    held = {}
    for key, content in wanted.items():
        try:
            put(store, key, content)
        except InvalidKey:
            assert not isinstance(store, DirectoryStore)
        else:
            held[key] = content
    assert keys(store) == sorted(held)
    assert {key: read(store, key) for key in held} == held


def test_large_objects_go_in_parts_and_come_back_whole(store: ObjectStore) -> None:
    content = random.Random(1).randbytes(20_000_000)
    known = store.put("big", io.BytesIO(content), size=len(content))
    unknown = store.put("big", io.BytesIO(content))
    assert known.etag == unknown.etag == store.stat("big").etag
    assert read(store, "big") == content
    with store.open("big") as stream:
        assert stream.read(10) == content[:10]
    for announced in (len(content) - 1, len(content) + 1):
        with pytest.raises(ObjectError, match="were announced"):
            store.put("big", io.BytesIO(content[::-1]), size=announced)
    assert read(store, "big") == content
    assert keys(store) == ["big"]


class TestDirectory:
    """What only the directory promises."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "bucket"

    @pytest.fixture
    def store(self, root: Path) -> ObjectStore:
        return open_store(root.as_uri())

    def test_plain_files_are_objects_both_ways(self, store: ObjectStore, root: Path) -> None:
        put(store, "t/i/by api.txt")
        assert (root / "t/i/by api.txt").read_bytes() == b"text"
        (root / "t/i/by hand.txt").write_bytes(b"hand")
        assert keys(store) == ["t/i/by api.txt", "t/i/by hand.txt"]
        assert read(store, "t/i/by hand.txt") == b"hand"

    def test_a_change_by_hand_of_the_same_size_is_seen(
        self, store: ObjectStore, root: Path
    ) -> None:
        put(store, "k", b"one")
        old = root.joinpath("k").stat()
        os.utime(root / "k", ns=(old.st_atime_ns, old.st_mtime_ns - 10**10))
        before = [info.etag for info in store.list("")]
        (root / "k").write_bytes(b"two")
        assert [info.etag for info in store.list("")] != before

    def test_unchanged_files_are_read_once_only(
        self, store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, "k", b"one")
        old = root.joinpath("k").stat()
        os.utime(root / "k", ns=(old.st_atime_ns, old.st_mtime_ns - 10**10))
        seen = list(store.list(""))
        monkeypatch.setattr("nexus_knowledge.objects.etags._hash", lambda _: pytest.fail("read"))
        assert list(DirectoryStore(root).list("")) == seen

    def test_links_are_not_followed(self, store: ObjectStore, root: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_bytes(b"secret")
        (root / "link").symlink_to(tmp_path / "secret")
        (root / "folder").symlink_to(tmp_path / "outside")
        assert keys(store) == []
        assert keys(store, "folder/") == []
        for key in ("link", "folder/file"):
            with pytest.raises(ObjectNotFound):
                store.open(key)
        put(store, "folder/file", b"mine")
        assert (tmp_path / "outside" / "file").read_bytes() == b"secret"
        assert read(store, "folder/file") == b"mine"
        store.delete("folder/file")
        assert (tmp_path / "outside" / "file").exists()

    def test_a_pipe_does_not_hold_the_reader(self, store: ObjectStore, root: Path) -> None:
        os.mkfifo(root / "pipe")
        assert keys(store) == []
        with pytest.raises(ObjectNotFound):
            store.open("pipe")

    def test_names_that_are_not_unicode_are_left_out_with_a_word(
        self, store: ObjectStore, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (root / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
        assert keys(store) == []
        assert "not valid unicode" in caplog.text

    def test_a_plain_file_by_hand_wins_over_an_odd_place(
        self, store: ObjectStore, root: Path
    ) -> None:
        put(store, "a")
        put(store, "a/b", b"odd")
        store.delete("a")
        (root / "a").mkdir()
        (root / "a" / "b").write_bytes(b"hand")
        assert keys(store) == ["a/b"]
        assert read(store, "a/b") == b"hand"

    def test_a_damaged_hash_cache_is_no_harm(self, store: ObjectStore, root: Path) -> None:
        put(store, "k")
        (root / ".nexus/etags.db").write_bytes(b"this is no database" * 100)
        assert keys(DirectoryStore(root)) == ["k"]

    def test_other_urls_are_refused(self) -> None:
        for url in (
            "gs://bucket",
            "bucket",
            "file://host/dir",
            "file:",
            "s3:///x",
            "s3://bucket?a=b",
        ):
            with pytest.raises(UnsupportedUrl):
                open_store(url)


@pytest.mark.parametrize("key_file", [b"t/i/a/b", b"", b"t/i/..", b"t/i/a"], ids=str)
def test_what_a_kill_left_of_an_odd_object_hides_no_other(tmp_path: Path, key_file: bytes) -> None:
    store = DirectoryStore(tmp_path)
    put(store, "t/i/a")
    put(store, "t/i/a/b")
    put(store, "t/i/a/c")
    odd = store._odd_path("t/i/a/b")
    odd.unlink()  # the key's file is written first and removed last
    odd.with_suffix(".key").write_bytes(key_file)
    assert keys(store) == ["t/i/a", "t/i/a/c"]
    put(store, "t/i/a/b", b"again")
    assert keys(store) == ["t/i/a", "t/i/a/b", "t/i/a/c"]
