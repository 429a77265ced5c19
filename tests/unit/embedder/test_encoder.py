import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nexus_embedder.encoder import Encoder
from nexus_embedder.errors import UnsupportedModel
from nexus_embedder.graph import build_graph
from nexus_embedder.model import read_architecture
from nexus_embedder.tokens import TextTokenizer
from nexus_models import ModelFiles, ModelFormat

TEXTS = [
    "The pump is switched off before its cover is opened.",
    "Ωμέγα, naïve café — 42 °C! 你好",
    "x",
    "Every valve has a number, a colour and a place in the register. " * 14,
]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    path = Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("numpy_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vectors_equal_those_of_an_independent_implementation(
    encoder: Encoder, tokenizer: TextTokenizer, minilm: ModelFiles, reference: ModuleType
) -> None:
    weights = reference.load(minilm.weights[0])
    sequences = tokenizer.encode(TEXTS)
    vectors = encoder.embed(sequences)
    for ids, vector in zip(sequences, vectors, strict=True):
        wanted = reference.embed(weights, ids.tolist(), layers=6, heads=12)
        assert float(vector @ wanted) >= 0.9999995


def test_neighbours_in_a_batch_do_not_change_a_vector(
    encoder: Encoder, tokenizer: TextTokenizer
) -> None:
    sequences = tokenizer.encode(TEXTS)
    together = encoder.embed(sequences)
    for ids, vector in zip(sequences, together, strict=True):
        assert float(encoder.embed([ids])[0] @ vector) >= 0.999999


def test_vectors_have_unit_length_unless_told_otherwise(
    encoder: Encoder, tokenizer: TextTokenizer, minilm: ModelFiles, model_cache: Path
) -> None:
    sequences = tokenizer.encode(TEXTS)
    assert np.allclose(np.linalg.norm(encoder.embed(sequences), axis=1), 1, atol=1e-6)
    raw = Encoder(minilm, cache=model_cache, threads=1, normalize=False, pooling="cls")
    assert not np.allclose(np.linalg.norm(raw.embed(sequences), axis=1), 1, atol=1e-2)
    assert encoder.pooling == "mean"


def test_tokenizer_neither_cuts_nor_pads(tokenizer: TextTokenizer) -> None:
    assert [len(ids) for ids in tokenizer.encode(["pump", "pump " * 300])] == [3, 302]


def test_callers_tokens_get_their_special_tokens_once(tokenizer: TextTokenizer) -> None:
    whole = tokenizer.encode(["the pump"])[0]
    assert tokenizer.wrap(whole.tolist()).tolist() == whole.tolist()
    assert tokenizer.wrap(whole[1:-1].tolist()).tolist() == whole.tolist()
    assert tokenizer.cut(whole, 3).tolist() == [whole[0], whole[1], whole[-1]]


def test_model_of_another_format_is_refused(tmp_path: Path) -> None:
    files = ModelFiles(tmp_path, "0" * 64, ModelFormat.GGUF, ())
    with pytest.raises(UnsupportedModel, match="safetensors are needed"):
        Encoder(files, cache=tmp_path, threads=1)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "no config.json"),
        ("{", "not valid JSON"),
        ("[]", "object"),
        ('{"model_type": "gpt2"}', "'gpt2' cannot be served"),
        ('{"model_type": "bert", "hidden_act": "swish"}', "'swish' is not known"),
        ('{"model_type": "bert"}', "max_position_embeddings"),
    ],
)
def test_configuration_that_cannot_be_served_is_explained(
    tmp_path: Path, config: str | None, words: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(UnsupportedModel, match=words):
        read_architecture(tmp_path)


def test_missing_tensor_is_named(minilm: ModelFiles) -> None:
    with pytest.raises(UnsupportedModel, match=r"no tensor embeddings\.word_embeddings"):
        build_graph(read_architecture(minilm.dir), {})
