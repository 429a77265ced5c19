"""From PEFT's form of an adapter to llama.cpp's: names, order of rows, scales, and refusals."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_pipelines.finetune.convert.errors import AdapterUnusable
from nexus_pipelines.finetune.convert.gguf_adapter import Base, convert, gguf_tensors
from nexus_pipelines.finetune.convert.llama import Heads, gguf_name, reordered
from nexus_pipelines.finetune.convert.peft_adapter import adapter_of, read_adapter
from nexus_pipelines.finetune.convert.safetensors_file import Array, read_tensors

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none"}
Q, V, DOWN = (
    f"model.layers.1.{part}" for part in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
)
BASE = Base(
    "llama",
    Heads(4, 2),
    {
        "blk.1.attn_q.weight": (16, 16),
        "blk.1.attn_v.weight": (8, 16),
        "blk.1.ffn_down.weight": (16, 24),
    },
)
SHAPES = {Q: (16, 16), V: (8, 16), DOWN: (16, 24)}


def tensors(*modules: str, rank: int = 2, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    found = {}
    for module in modules:
        rows, columns = SHAPES[module]
        for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
            name = f"base_model.model.{module}.lora_{side}.weight"
            found[name] = random.normal(size=shape).astype(np.float32)
    return found


def safetensors(values: dict[str, Array], kind: str = "F32") -> bytes:
    head, body = {}, b""
    for name, value in values.items():
        if kind == "BF16":
            raw = (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            raw = value.astype({"F32": "<f4", "F16": "<f2"}[kind]).tobytes()
        place = [len(body), len(body) + len(raw)]
        head[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": place}
        body += raw
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def in_halves(b: Array, heads: int) -> Array:
    """The order of a checkpoint's rows, from that of its GGUF."""
    return b.reshape(heads, -1, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)


def effect(made: dict[str, Array], name: str, alpha: float, heads: int | None) -> Array:
    """What llama.cpp adds to a weight, in the order of the checkpoint's rows."""
    a, b = made[f"{name}.lora_a"], made[f"{name}.lora_b"]
    return alpha / a.shape[0] * ((b if heads is None else in_halves(b, heads)) @ a)


@given(
    heads=st.integers(1, 4), half=st.integers(1, 4), rank=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_rows_of_q_and_k_come_back_in_their_order(
    heads: int, half: int, rank: int, seed: int
) -> None:
    b = np.random.default_rng(seed).normal(size=(heads * 2 * half, rank)).astype(np.float32)
    for part, given_heads in (("attn_q", Heads(heads, 1)), ("attn_k", Heads(1, heads))):
        moved = reordered(f"blk.0.{part}.weight", b, given_heads)
        np.testing.assert_array_equal(in_halves(moved, heads), b)
    np.testing.assert_array_equal(reordered("blk.0.attn_v.weight", b, Heads(heads, heads)), b)


@settings(max_examples=50)
@given(
    r=st.integers(1, 4),
    q_rank=st.integers(1, 4),
    alpha=st.integers(1, 64),
    q_alpha=st.integers(1, 64),
    rslora=st.booleans(),
)
def test_the_effect_is_that_of_peft_whatever_ranks_and_alphas(
    r: int, q_rank: int, alpha: int, q_alpha: int, rslora: bool
) -> None:
    given_tensors = tensors(V, rank=r) | tensors(Q, rank=q_rank, seed=1)
    config = {
        **CONFIG, "r": r, "lora_alpha": alpha, "use_rslora": rslora,
        "rank_pattern": {"q_proj": q_rank},
        "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": q_alpha},
    }  # fmt: skip
    made = gguf_tensors(adapter_of(config, given_tensors), BASE)
    for module, heads, rank, own_alpha in ((V, None, r, alpha), (Q, 4, q_rank, q_alpha)):
        a = given_tensors[f"base_model.model.{module}.lora_A.weight"]
        b = given_tensors[f"base_model.model.{module}.lora_B.weight"]
        expected = own_alpha / (rank**0.5 if rslora else rank) * (b @ a)
        found = effect(made, gguf_name(module), alpha, heads)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_without_patterns_the_matrices_are_those_of_the_adapter() -> None:
    given_tensors = tensors(V, DOWN)
    made = gguf_tensors(adapter_of(CONFIG, given_tensors), BASE)
    for module in (V, DOWN):
        for side in "AB":
            ours = made[f"{gguf_name(module)}.lora_{side.lower()}"]
            np.testing.assert_array_equal(
                ours, given_tensors[f"base_model.model.{module}.lora_{side}.weight"]
            )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"init_lora_weights": "pissa"}, "base model"),
        ({"r": 3}, "rank"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
        ({"r": float("nan")}, "r is nan"),
        ({"alpha_pattern": {".*": "x"}}, "is 'x'"),
        ({"alpha_pattern": {".*": -1}}, "is -1"),
        ({"rank_pattern": {".*": float("nan")}}, "is nan"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern is"),
        ({"rank_pattern": {"(": 2}}, "pattern"),
    ],
)
def test_what_llamacpp_cannot_apply_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AdapterUnusable, match=complaint):
        adapter_of({**CONFIG, **change}, tensors(Q))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("base_model.model.lm_head.weight", np.ones((2, 2)), "no part of a LoRA"),
        (f"base_model.model.{V}.lora_A.weight", np.full((2, 16), np.nan), "not finite"),
        (f"base_model.model.{V}.lora_B.weight", np.full((8, 2), np.inf), "not finite"),
        (f"base_model.model.{V}.lora_A.weight", np.ones((2, 16)), "only one"),
        (f"base_model.model.{V}.lora_A.weight", np.ones(2), "no part of a LoRA"),
    ],
)
def test_damaged_tensors_are_named(name: str, value: Array, complaint: str) -> None:
    with pytest.raises(AdapterUnusable, match=complaint):
        adapter_of(CONFIG, {**tensors(Q), name: value})


def test_an_adapter_without_effect_is_refused() -> None:
    blank = {n: v * (0 if "lora_B" in n else 1) for n, v in tensors(Q, V).items()}
    with pytest.raises(AdapterUnusable, match="changes nothing"):
        adapter_of(CONFIG, blank)
    with pytest.raises(AdapterUnusable, match="no tensors"):
        adapter_of(CONFIG, {})


@pytest.mark.parametrize(
    "module",
    ["lm_head", "model.embed_tokens", "model.layers.1.mlp.router",
     "model.layers.x.self_attn.q_proj", "model.layers.01.self_attn.q_proj",
     "vision.layers.1.self_attn.q_proj"],
)  # fmt: skip
def test_other_modules_are_refused(module: str) -> None:
    with pytest.raises(AdapterUnusable, match="cannot be adapted"):
        gguf_name(module)


def test_an_adapter_of_another_base_is_refused() -> None:
    adapter = adapter_of(CONFIG, tensors(Q))
    for base, complaint in (
        (Base("qwen2", BASE.heads, BASE.shapes), "qwen2"),
        (Base("llama", BASE.heads, {}), "has no module"),
        (Base("llama", BASE.heads, {"blk.1.attn_q.weight": (16, 32)}), "another base"),
        (Base("llama", Heads(3, 3), BASE.shapes), "share evenly"),
    ):
        with pytest.raises(AdapterUnusable, match=complaint):
            gguf_tensors(adapter, base)


@pytest.mark.parametrize(("kind", "steps"), [("F32", 0), ("F16", 2**-10), ("BF16", 2**-7)])
def test_weights_are_read_in_every_usual_precision(tmp_path: Path, kind: str, steps: float) -> None:
    values = tensors(Q, V)
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(safetensors(values, kind))
    found = read_tensors(path)
    assert found.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(found[name], value, rtol=steps)


WHOLE = safetensors({"a": np.ones((2, 3), np.float32)})


@given(st.binary(min_size=1, max_size=300), st.integers(0, len(WHOLE) - 1))
def test_a_damaged_file_is_an_error_that_can_be_read(junk: bytes, cut: int) -> None:
    for content in (b"\xff" + junk, WHOLE[:cut], struct.pack("<Q", len(junk)) + b"[" + junk):
        with pytest.raises(AdapterUnusable, match="no whole safetensors file"):
            read_tensors(_InMemory(content))  # type: ignore[arg-type]


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner),
))  # fmt: skip
def test_a_head_that_lies_is_an_error_that_can_be_read(entry: object) -> None:
    text = json.dumps({"a": entry}).encode()
    with pytest.raises(AdapterUnusable, match="no whole safetensors file"):
        read_tensors(_InMemory(struct.pack("<Q", len(text)) + text))  # type: ignore[arg-type]


class _InMemory:
    """A file's content without a file."""

    def __init__(self, content: bytes) -> None:
        self.name = "adapter_model.safetensors"
        self._content = content

    def read_bytes(self) -> bytes:
        return self._content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors(tensors(Q, DOWN)))
    return tmp_path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    for name, shape in BASE.shapes.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_file_says_what_llamacpp_asks_for(folder: Path, base: Path) -> None:
    convert(folder, base, folder / "adapter.gguf")
    again = folder / "again.gguf"
    convert(folder, base, again)
    assert again.read_bytes() == (folder / "adapter.gguf").read_bytes()
    found = GGUFReader(again)
    said = {
        key: field.contents()
        for key, field in found.fields.items()
        if "." in key and not key.startswith("GGUF")
    }
    assert said == {
        "general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora",
        "adapter.lora.alpha": 6.0,
    }  # fmt: skip
    shapes = {one.name: tuple(reversed(one.shape.tolist())) for one in found.tensors}
    assert shapes == {
        "blk.1.attn_q.weight.lora_a": (2, 16), "blk.1.attn_q.weight.lora_b": (16, 2),
        "blk.1.ffn_down.weight.lora_a": (2, 24), "blk.1.ffn_down.weight.lora_b": (16, 2),
    }  # fmt: skip


def test_nothing_is_written_when_something_is_wrong(folder: Path, base: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, "use_dora": True}))
    with pytest.raises(AdapterUnusable):
        convert(folder, base, folder / "adapter.gguf")
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "base.gguf",
    ]  # fmt: skip


@pytest.mark.parametrize("config", ["", "[]", "{", '{"peft_type": "LORA"}'])
def test_a_damaged_configuration_is_named(folder: Path, config: str) -> None:
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(AdapterUnusable, match=r"adapter_config\.json"):
        read_adapter(folder)


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(AdapterUnusable, match=missing):
        read_adapter(folder)


def test_a_base_that_is_no_gguf_is_named(folder: Path, base: Path) -> None:
    base.write_bytes(b"not a model")
    with pytest.raises(AdapterUnusable, match=r"base\.gguf"):
        convert(folder, base, folder / "adapter.gguf")
