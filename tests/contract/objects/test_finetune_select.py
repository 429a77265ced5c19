"""A selection from every kind of object store, with what only a bucket can do wrong."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from minio_server import MinioServer

from nexus_api.training import TrainingFiles
from nexus_evaluation.golden import GoldenItem, GoldenSet, write
from nexus_knowledge.objects import ObjectInfo, ObjectStore
from nexus_pipelines.finetune.arguments import JobKey
from nexus_pipelines.finetune.bounds import Stores
from nexus_pipelines.finetune.select.examples import Source
from nexus_pipelines.finetune.select.files import Reading, SourceChanged, objects, read
from nexus_pipelines.finetune.select.golden import GoldenSetUnusable, open_golden

KEY = JobKey("team", "support")
ROWS = [{"question": f"Q{n}?", "answer": f"Prüfung {n}."} for n in range(3000)]
FILES = TrainingFiles(prefix="team/support/", exclude=["drafts/**"])


def put(store: ObjectStore, key: str, rows: list[dict[str, str]]) -> None:
    data = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    store.put(key, io.BytesIO(data), size=len(data))


def test_lines_are_read_from_every_store(store: ObjectStore) -> None:
    put(store, "team/support/b.jsonl", ROWS)
    put(store, "team/support/a/ü.jsonl", ROWS[:2])
    put(store, "team/support/drafts/c.jsonl", ROWS)
    put(store, "team/support-2/d.jsonl", ROWS)
    reading = Reading()
    listed = objects(KEY, "data.files", FILES, store)
    found = list(read(store, listed, Source.FILES, reading))
    assert [one.question for one in found] == ["Q0?", "Q1?", *(row["question"] for row in ROWS)]
    assert reading.rows == 3002
    assert not reading.rejected


class Shifting:
    """A store in which an object is replaced while it is read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._store.list(prefix)

    def open(self, key: str) -> BinaryIO:
        stream = self._store.open(key)
        put(self._store, key, ROWS[:9])
        return stream

    def stat(self, key: str) -> ObjectInfo:
        return self._store.stat(key)

    def put(self, key: str, data: BinaryIO, *, size: int | None = None) -> ObjectInfo:
        return self._store.put(key, data, size=size)

    def delete(self, key: str) -> None:
        self._store.delete(key)


def test_an_object_that_changes_under_the_reader_is_read_again_later(store: ObjectStore) -> None:
    put(store, "team/support/a.jsonl", ROWS[:5])
    shifting = Shifting(store)
    listed = objects(KEY, "data.files", FILES, shifting)
    with pytest.raises(SourceChanged, match="changed while it was read") as caught:
        list(read(shifting, listed, Source.FILES, Reading()))
    assert caught.value.exit_code == 75


class TestGoldenSetInABucket:
    GOLDEN = GoldenSet((GoldenItem(id="1", question="Q?", references=("A",)),), "g", "1")

    @pytest.fixture
    def filled(self, minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in minio.environment_of_steps.items():
            monkeypatch.setenv(name, value)
        client, content = minio.access.client(), write(self.GOLDEN)
        for key in ("data/team/g.jsonl", "data/other/g.jsonl"):
            client.put_object("bucket", key, io.BytesIO(content), len(content))

    def opened(
        self, uri: str, home: str = "s3://bucket/data", shared: tuple[str, ...] = ()
    ) -> GoldenSet:
        closed = ["s3://own-work/x", "file:///somewhere"]
        stores = Stores(bucket_url=home, closed=closed, shared=list(shared))
        return open_golden(uri, "team", **stores)

    def test_it_is_read_from_the_namespaces_place(self, filled: None) -> None:
        assert self.opened("s3://bucket/data/team/g.jsonl") == self.GOLDEN

    def test_another_bucket_is_open_where_the_administrator_shares_it_or_a_laptop_has_one_tenant(
        self, filled: None
    ) -> None:
        uri, home = "s3://bucket/data/other/g.jsonl", "s3://else"
        with pytest.raises(GoldenSetUnusable, match="ask the administrator to share the bucket"):
            self.opened(uri, home)
        with pytest.raises(GoldenSetUnusable, match="under s3://else/team/"):
            self.opened(uri, home, shared=("bucket2",))
        assert self.opened(uri, home, shared=("else2", "bucket")) == self.GOLDEN
        assert self.opened(uri, "file:///home/me") == self.GOLDEN

    @pytest.mark.parametrize(
        ("uri", "said"),
        [
            ("s3://bucket/data/other/g.jsonl", "must lie under s3://bucket/data/team/"),
            ("s3://bucket/data/teammate/g.jsonl", "must lie under s3://bucket/data/team/"),
            ("s3://own-work/team/g.jsonl", "the platform's own"),
            ("s3://bucket/data/team/none.jsonl", "does not exist"),
            ("hf://org/set/g.json", "write s3://bucket/key or file:///path"),
        ],
    )
    def test_other_places_are_closed(self, filled: None, uri: str, said: str) -> None:
        with pytest.raises(GoldenSetUnusable, match=said):
            self.opened(uri)


def test_a_golden_set_on_disk_lies_where_the_machine_opens_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "g.jsonl"
    file.write_bytes(b"not json\n")
    stores = Stores(bucket_url="file:///b", closed=[], shared=[])
    with pytest.raises(GoldenSetUnusable, match="line 1: not JSON"):
        open_golden(file.as_uri(), "team", **stores)
    monkeypatch.setenv("NEXUS_MODEL_FILE_ROOTS", "")
    with pytest.raises(Exception, match="open below no directory only"):
        open_golden(file.as_uri(), "team", **stores)
