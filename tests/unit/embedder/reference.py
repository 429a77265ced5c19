"""A BERT encoder in plain numpy, written from the paper: slow, simple, and independent."""

import json
import math
import struct
from pathlib import Path

import numpy as np

Array = np.ndarray


def load(path: Path) -> dict[str, Array]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    return {
        name: np.frombuffer(
            raw, np.float32, math.prod(entry["shape"]), 8 + length + entry["data_offsets"][0]
        ).reshape(entry["shape"]).astype(np.float64)
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }  # fmt: skip


def embed(weights: dict[str, Array], ids: list[int], *, layers: int, heads: int) -> Array:
    """Mean-pooled, unit-length vector of one text: float64 [hidden]."""
    table = "embeddings.{}_embeddings.weight".format
    x = weights[table("word")][ids] + weights[table("position")][: len(ids)]
    x = norm(x + weights[table("token_type")][0], weights, "embeddings.LayerNorm")
    for number in range(layers):
        name = f"encoder.layer.{number}"
        mixed = attend(x, weights, f"{name}.attention.self", heads)
        mixed = linear(mixed, weights, f"{name}.attention.output.dense")
        x = norm(x + mixed, weights, f"{name}.attention.output.LayerNorm")
        wide = linear(x, weights, f"{name}.intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(x + linear(wide, weights, f"{name}.output.dense"), weights,
                 f"{name}.output.LayerNorm")  # fmt: skip
    pooled = x.mean(axis=0)
    return pooled / np.linalg.norm(pooled)


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attend(x: Array, weights: dict[str, Array], name: str, heads: int) -> Array:
    q, k, v = (
        linear(x, weights, f"{name}.{part}").reshape(len(x), heads, -1).transpose(1, 0, 2)
        for part in ("query", "key", "value")
    )
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
    chances /= chances.sum(axis=-1, keepdims=True)
    return (chances @ v).transpose(1, 0, 2).reshape(len(x), -1)
