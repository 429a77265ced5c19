"""Models in S3: mirrored with digests, fetched and placed, on a real MinIO."""

import io
import json
import struct
from pathlib import Path

import pytest
from minio_server import MinioServer

from nexus_api.release import adapter_digest
from nexus_models import (
    DigestMismatch,
    ModelFormat,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
    UnsupportedUri,
    fetch,
    fetch_adapter,
    mirror,
)
from nexus_models.files import sha256_of
from nexus_models.sources.bucket import RECORD
from nexus_pipelines import cli


def weights(number: float) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", number)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights(1))
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer" / "vocab.txt").write_text("a b")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    return folder


@pytest.fixture
def bucket(minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A bucket of one's own; the environment names its S3."""
    for name, value in minio.environment_of_steps.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEXUS_MODEL_CACHE", str(tmp_path / "cache"))
    name = f"models-{abs(hash(tmp_path))}"
    minio.access.client().make_bucket(name)
    return name


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_mirror_gives_what_was_mirrored(bucket: str, model: Path, tmp_path: Path) -> None:
    origin = fetch(f"file://{model}", cache=tmp_path / "here")
    to = f"s3://{bucket}/mirror/tiny"
    assert mirror(origin, to)
    assert not mirror(origin, to)
    copy = fetch(to, cache=tmp_path / "there")
    assert copy.digest == origin.digest
    assert names(copy.dir) == {"model.safetensors", "config.json", "tokenizer/vocab.txt"}
    assert fetch(to, cache=tmp_path / "there") == copy


def test_a_mirror_that_was_tampered_with_or_is_not_whole_is_refused(
    bucket: str, model: Path, tmp_path: Path, minio: MinioServer
) -> None:
    to = f"s3://{bucket}/tiny"
    mirror(fetch(f"file://{model}", cache=tmp_path / "here"), to)
    client = minio.access.client()
    client.put_object(bucket, "tiny/model.safetensors", io.BytesIO(weights(2)), len(weights(2)))
    with pytest.raises(DigestMismatch, match=r"model.safetensors is not the file"):
        fetch(to, cache=tmp_path / "a")
    client.put_object(bucket, "tiny/model.safetensors", io.BytesIO(weights(1)), len(weights(1)))
    client.remove_object(bucket, "tiny/config.json")
    with pytest.raises(DigestMismatch, match=r"lacks config.json"):
        fetch(to, cache=tmp_path / "b")


def test_a_folder_without_a_record_is_taken_at_its_word_once(
    bucket: str, tmp_path: Path, minio: MinioServer
) -> None:
    client = minio.access.client()
    for key, content in {
        "m/model.safetensors": weights(1),
        "m/pickle.bin": b"\x80",
        "m/two/model.gguf": b"GGUF",
        "m/.hidden/x.json": b"{}",
        "m/": b"",
    }.items():
        client.put_object(bucket, key, io.BytesIO(content), len(content))
    uri = f"s3://{bucket}/m/model.safetensors"
    assert names(fetch(uri, cache=tmp_path).dir) == {"model.safetensors"}
    with pytest.raises(UnsafeModel, match=r"without running code"):
        fetch(f"s3://{bucket}/m/pickle.bin", cache=tmp_path)
    with pytest.raises(ModelNotFound):
        fetch(f"s3://{bucket}/absent", cache=tmp_path)
    with pytest.raises(ModelNotFound):
        fetch("s3://no-such-bucket/m", cache=tmp_path)


def test_without_s3_in_the_environment_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEXUS_S3_ENDPOINT", raising=False)
    with pytest.raises(NotAllowed, match="NEXUS_S3_ENDPOINT"):
        fetch("s3://bucket/m", cache=tmp_path)


def test_only_a_bucket_takes_a_mirror(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedUri, match="s3://bucket/folder"):
        mirror(fetch(f"file://{model}", cache=tmp_path / "c"), "hf://a/b")


def test_the_steps_mirror_and_place(
    bucket: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/m"
    served = tmp_path / "served" / "abc"
    assert cli.run(["model-mirror", f"--uri=file://{model}", f"--to={uri}"]) == 0
    assert cli.run(["model-fetch", f"--uri={uri}", f"--to={served}"]) == 0
    assert "placed" in capsys.readouterr().err
    whole = {"model.safetensors", "config.json", "tokenizer/vocab.txt"}
    assert names(served) == whole
    inode = (served / "model.safetensors").stat().st_ino
    assert cli.run(["model-fetch", f"--uri={uri}", f"--to={served}"]) == 0
    assert "already there" in capsys.readouterr().err
    assert (served / "model.safetensors").stat().st_ino == inode
    # A folder that somebody spoiled is put right again.
    (served / "config.json").unlink()
    assert cli.run(["model-fetch", f"--uri={uri}", f"--to={served}"]) == 0
    assert names(served) == whole
    assert (model / RECORD).exists() is False


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(weights(1))
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter.gguf").write_bytes(b"GGUF")
    (folder / "unit.json").write_text("{}")
    (folder / "model-card.md").write_text("# card")
    return folder


def released(minio: MinioServer, bucket: str, adapter: Path) -> tuple[str, str]:
    """Put a version into a bucket; its address, and the digest of its adapter."""
    client = minio.access.client()
    for path in adapter.iterdir():
        client.fput_object(bucket, f"default/tuned/1/{path.name}", str(path))
    digest = adapter_digest({path.name: sha256_of(path) for path in adapter.iterdir()})
    return f"s3://{bucket}/default/tuned/1/", digest


def test_a_released_adapter_comes_by_its_digest(
    minio: MinioServer, bucket: str, adapter: Path, tmp_path: Path
) -> None:
    uri, digest = released(minio, bucket, adapter)
    found = fetch_adapter(uri, ModelFormat.GGUF, cache=tmp_path / "here", digest=digest)
    assert names(found.dir) == {
        "adapter.gguf", "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    assert [path.name for path in found.files] == ["adapter.gguf"]
    minio.access.client().remove_object(bucket, "default/tuned/1/adapter.gguf")
    again = fetch_adapter(uri, ModelFormat.SAFETENSORS, cache=tmp_path / "here", digest=digest)
    assert again.dir == found.dir, "what is in the cache needs no bucket"
    with pytest.raises(DigestMismatch, match=digest[:12]):
        fetch_adapter(uri, ModelFormat.GGUF, cache=tmp_path / "there", digest=digest)
    assert names(tmp_path / "there" / "adapters") == set()


@pytest.mark.parametrize("content", [b"", b"GG", b"GUFG", None])
def test_a_released_adapter_that_is_damaged_in_the_cache_comes_again(
    minio: MinioServer, bucket: str, adapter: Path, tmp_path: Path, content: bytes | None
) -> None:
    uri, digest = released(minio, bucket, adapter)
    found = fetch_adapter(uri, ModelFormat.GGUF, cache=tmp_path / "here", digest=digest)
    (tmp_path / "here" / "adapters" / f".fetching-{digest}-x").mkdir()  # of a killed process
    if content is None:
        found.weights[0].unlink()
    else:
        found.weights[0].write_bytes(content)
    again = fetch_adapter(uri, ModelFormat.GGUF, cache=tmp_path / "here", digest=digest)
    assert again.weights[0].read_bytes() == b"GGUF"
    assert [path.name for path in (tmp_path / "here" / "adapters").iterdir()] == [digest]


def test_an_engines_pod_fetches_a_released_adapter(
    minio: MinioServer, bucket: str, adapter: Path, tmp_path: Path
) -> None:
    uri, digest = released(minio, bucket, adapter)
    to = tmp_path / "served" / "a"
    flags = ["--uri", uri, "--to", str(to), "--adapter-digest"]
    assert cli.run(["model-fetch", *flags, "0" * 64]) == 1
    assert not to.exists()
    assert cli.run(["model-fetch", *flags, digest]) == 0
    assert names(to) == {"adapter_config.json", "adapter_model.safetensors"}
