"""Adapters by the address of their folder, held against the digest of their release."""

import hashlib
from pathlib import Path

import pytest

from nexus_api.release import ADAPTER_FILES, adapter_digest
from nexus_models import (
    AmbiguousModel,
    DigestMismatch,
    ModelFormat,
    ModelNotFound,
    NotAllowed,
    UnsupportedUri,
    fetch_adapter,
)

CONTENTS = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": b"peft",
    "adapter.gguf": b"gguf",
    "unit.json": b"{}",
    "model-card.md": b"# card",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "version"
    place.mkdir()
    for name, content in CONTENTS.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def digest() -> str:
    return adapter_digest(
        {name: hashlib.sha256(CONTENTS[name]).hexdigest() for name in ADAPTER_FILES}
    )


def names(files: tuple[Path, ...]) -> set[str]:
    return {path.name for path in files}


def test_an_engine_gets_the_files_that_it_reads(folder: Path, digest: str, tmp_path: Path) -> None:
    def fetched(form: ModelFormat) -> set[str]:
        uri = f"file://{folder}/"
        return names(fetch_adapter(uri, form, cache=tmp_path / "c", digest=digest).files)

    assert fetched(ModelFormat.GGUF) == {"adapter.gguf"}
    assert fetched(ModelFormat.SAFETENSORS) == {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.parametrize("name", ADAPTER_FILES)
def test_another_adapter_than_the_released_one_is_refused(
    folder: Path, digest: str, tmp_path: Path, name: str
) -> None:
    (folder / name).write_bytes(b"other")
    with pytest.raises(DigestMismatch, match=digest[:12]):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path / "c", digest=digest)


def test_what_lies_beside_it_may_change(folder: Path, digest: str, tmp_path: Path) -> None:
    (folder / "model-card.md").write_text("# another")
    (folder / "unit.json").unlink()
    found = fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path, digest=digest)
    assert found.weights == (folder / "adapter.gguf",)


@pytest.mark.parametrize("digest", ["../../x", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_digest_is_never_a_path(folder: Path, tmp_path: Path, digest: str) -> None:
    with pytest.raises(DigestMismatch, match="is no digest"):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path, digest=digest)


def test_a_folder_without_the_engines_form_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "adapter.gguf").unlink()
    digest = adapter_digest(
        {name: hashlib.sha256(CONTENTS[name]).hexdigest() for name in ADAPTER_FILES[:2]}
    )
    with pytest.raises(ModelNotFound, match=r"no adapter\.gguf"):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path, digest=digest)
    with pytest.raises(ModelNotFound, match=r"no adapter\.gguf"):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path)


def test_a_folder_that_is_no_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    uri = f"file://{tmp_path}/empty"
    with pytest.raises(ModelNotFound, match="an adapter needs"):
        fetch_adapter(uri, ModelFormat.GGUF, cache=tmp_path, digest="0" * 64)


def test_links_are_not_followed(folder: Path, digest: str, tmp_path: Path) -> None:
    (folder / "adapter.gguf").rename(tmp_path / "elsewhere.gguf")
    (folder / "adapter.gguf").symlink_to(tmp_path / "elsewhere.gguf")
    with pytest.raises(DigestMismatch):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path / "c", digest=digest)


def test_without_a_digest_the_address_must_be_plain(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AmbiguousModel, match="name one file"):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path / "c")
    uri = f"file://{folder}/adapter.gguf"
    found = fetch_adapter(uri, ModelFormat.GGUF, cache=tmp_path / "c")
    assert found.weights == (folder / "adapter.gguf",)


def test_a_closed_machine_stays_closed(
    folder: Path, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_MODEL_FILE_ROOTS", "")
    with pytest.raises(NotAllowed):
        fetch_adapter(f"file://{folder}", ModelFormat.GGUF, cache=tmp_path, digest=digest)


def test_released_adapters_come_from_stores_of_ours(tmp_path: Path, digest: str) -> None:
    with pytest.raises(UnsupportedUri, match="s3://"):
        fetch_adapter("hf://org/adapter", ModelFormat.GGUF, cache=tmp_path, digest=digest)
