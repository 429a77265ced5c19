"""The base of a unit in the form that its engine serves."""

from dataclasses import asdict
from pathlib import Path

import pytest

from nexus_api.release import ReleasableUnit
from nexus_models import fetch
from nexus_pipelines.finetune.evaluate.bases import base_digest, base_licence, servable_base
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.train.base import open_base


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "one" / "tiny.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF and weights")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "other"
    made.mkdir()
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "config.json").write_text("{}")
    return made


def test_the_digest_is_that_of_the_files_that_serve(
    gguf: Path, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for engine, path in (("llamacpp", gguf), ("vllm", folder), ("triton", folder)):
        unit = ReleasableUnit(base=path.as_uri(), engine=engine)
        assert servable_base(unit, cache) == path
        found = base_digest(unit, cache)
        assert found == fetch(path.as_uri(), cache=cache).digest
        other = unit.model_copy(update={"temperature": "0.5", "adapter_digest": "ab" * 32})
        assert base_digest(other, cache) == found


def test_a_base_of_other_bytes_has_another_digest(gguf: Path, tmp_path: Path) -> None:
    unit = ReleasableUnit(base=gguf.as_uri())
    before = base_digest(unit, tmp_path / "cache")
    gguf.write_bytes(b"GGUF and other weights")
    assert base_digest(unit, tmp_path / "another") != before


def test_the_licence_is_the_one_that_the_files_name(
    gguf: Path, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    bases = {"llamacpp": gguf, "vllm": folder}
    units = [ReleasableUnit(base=path.as_uri(), engine=engine) for engine, path in bases.items()]
    assert [base_licence(unit, cache) for unit in units] == [None, None]
    before = base_digest(units[1], cache)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    source = "front matter of README.md"
    said = {"id": "mit", "name": "", "link": "", "source": source}
    assert base_licence(units[1], cache) == said
    assert base_digest(units[1], cache) == before
    base = open_base(folder.as_uri(), revision="", cache=cache, say=print)
    assert base.licence is not None
    assert asdict(base.licence) == said


def test_a_base_that_the_engine_does_not_read_has_none(
    gguf: Path, folder: Path, tmp_path: Path
) -> None:
    for engine, path, said in (
        ("llamacpp", folder, "no single GGUF file"),
        ("vllm", gguf, "no folder of safetensors, which vllm serves"),
    ):
        with pytest.raises(EngineNotOffered, match=said):
            base_digest(ReleasableUnit(base=path.as_uri(), engine=engine), tmp_path / "cache")
