"""What a BERT-family embedding model is made of, as its configuration files say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nexus_embedder.errors import UnsupportedModel

Pooling = Literal["mean", "cls"]

_FAMILIES = frozenset({"bert", "roberta", "xlm-roberta"})
_ACTIVATIONS = {
    "gelu": "none",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
}


@dataclass(frozen=True)
class Architecture:
    """The shape of an encoder.

    Attributes:
        position_offset: the number of the first token's position (RoBERTa counts from 2).
        max_tokens: the longest input, special tokens included.
        pooling: what the model's own card asks for.
        gelu: the `approximate` attribute of ONNX's Gelu.
    """

    layers: int
    heads: int
    hidden: int
    norm_epsilon: float
    gelu: str
    position_offset: int
    max_tokens: int
    pooling: Pooling


def read_architecture(folder: Path) -> Architecture:
    """Read config.json and the sentence-transformers files beside it, where there are any.

    Raises:
        UnsupportedModel: the model is of another family, or config.json lacks a field.
    """
    config = _read(folder / "config.json")
    if config is None:
        raise UnsupportedModel(f"{folder}: there is no config.json, so no embedding model")
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise UnsupportedModel(
            f"{folder}: model_type {family!r} cannot be served; "
            f"known: {', '.join(sorted(_FAMILIES))}"
        )
    activation = config.get("hidden_act", "gelu")
    if activation not in _ACTIVATIONS:
        raise UnsupportedModel(f"{folder}: hidden_act {activation!r} is not known here")
    try:
        offset = 0 if family == "bert" else int(config.get("pad_token_id", 1)) + 1
        positions = int(config["max_position_embeddings"]) - offset
        return Architecture(
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            hidden=int(config["hidden_size"]),
            norm_epsilon=float(config.get("layer_norm_eps", 1e-12)),
            gelu=_ACTIVATIONS[activation],
            position_offset=offset,
            max_tokens=_max_tokens(folder, positions),
            pooling=_pooling(folder),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UnsupportedModel(f"{folder}/config.json: {error!r}") from error


def _max_tokens(folder: Path, positions: int) -> int:
    trained = _read(folder / "sentence_bert_config.json") or {}
    return min(int(trained.get("max_seq_length") or positions), positions)


def _pooling(folder: Path) -> Pooling:
    wanted = _read(folder / "1_Pooling" / "config.json") or {}
    return "cls" if wanted.get("pooling_mode_cls_token") else "mean"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UnsupportedModel(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnsupportedModel(f"{path}: a JSON object is expected")
    return value
