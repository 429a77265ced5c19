"""An adapter that is not the one, or not for this model, is an error that can be read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from damaged_gguf import spoil
from gguf import GGUFWriter
from llama_process import serving, start
from ports import free_port
from tiny_adapter import Adapted

from nexus_api.release import ADAPTER_FILES, adapter_digest
from nexus_models.files import sha256_of


def other_shape(path: Path) -> None:
    write(path, "llama", {"blk.0.attn_q.weight.lora_a": (4, 32)})


def other_layer(path: Path) -> None:
    write(path, "llama", {"blk.9.attn_q.weight.lora_a": (4, 64)})


def other_family(path: Path) -> None:
    write(path, "qwen2", {"blk.0.attn_q.weight.lora_a": (4, 64)})


def other_kind(path: Path) -> None:
    write(path, "llama", {"blk.0.attn_q.weight.lora_a": (4, 64)}, kind="control_vector")


def no_gguf(path: Path) -> None:
    path.write_bytes(b"GGML" + bytes(100))


def write(
    path: Path, family: str, shapes: dict[str, tuple[int, int]], *, kind: str = "lora"
) -> None:
    writer = GGUFWriter(path, family)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 8)
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def refusal(cache: Path, base: Path, *flags: str) -> str:
    process = start(cache, free_port(), f"file://{base}", *flags)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1, said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (other_shape, "another base model: blk.0.attn_q.weight.lora_a (32 x 4)"),
        (other_layer, "another base model: blk.9.attn_q.weight.lora_a"),
        (other_family, "family 'qwen2'"),
        (other_kind, "is no LoRA adapter"),
        (no_gguf, "not a whole GGUF file"),
    ],
)
def test_what_is_no_adapter_of_this_model(
    adapted: Adapted, cache: Path, tmp_path: Path, make: Callable[[Path], None], complaint: str
) -> None:
    make(tmp_path / "adapter.gguf")
    assert complaint in refusal(
        cache, adapted.base, "--adapter-uri", f"file://{tmp_path}/adapter.gguf"
    )


def damaged(source: Path, target: Path, tensor: str) -> str:
    """Copy a file, spoil a tensor of it; give its address."""
    shutil.copyfile(source, target)
    spoil(target, tensor)
    return target.as_uri()


def test_a_model_that_loads_and_cannot_answer_never_serves(
    adapted: Adapted, cache: Path, tmp_path: Path
) -> None:
    damaged(adapted.base, tmp_path / "base.gguf", "output_norm.weight")
    said = refusal(cache, tmp_path / "base.gguf")
    assert "base.gguf: the first question was not answered: the model computes no numbers" in said


def test_an_adapter_by_which_the_model_cannot_answer_never_serves(
    adapted: Adapted, cache: Path, tmp_path: Path
) -> None:

    uri = damaged(adapted.gguf, tmp_path / "adapter.gguf", "blk.0.attn_q.weight.lora_b")
    said = refusal(cache, adapted.base, "--adapter-uri", uri)
    assert "/adapter.gguf: the first question was not answered: the model computes no" in said
    assert "adapter " in said


def test_a_base_model_is_no_adapter(adapted: Adapted, cache: Path) -> None:
    said = refusal(cache, adapted.base, "--adapter-uri", f"file://{adapted.base}")
    assert "is no LoRA adapter" in said


def test_another_digest_than_the_released_one(adapted: Adapted, cache: Path) -> None:
    flags = ("--adapter-uri", f"file://{adapted.adapter}", "--adapter-digest", "0" * 64)
    assert "000000000000 was released" in refusal(cache, adapted.base, *flags)


def test_a_released_folder_is_served(adapted: Adapted, cache: Path) -> None:
    digest = adapter_digest({name: sha256_of(adapted.adapter / name) for name in ADAPTER_FILES})
    flags = ("--adapter-uri", f"file://{adapted.adapter}/", "--adapter-digest", digest)
    with serving(cache, f"file://{adapted.base}", *flags) as url:
        loaded = httpx.get(f"{url}/lora-adapters", timeout=60).json()
    assert [(one["id"], one["scale"]) for one in loaded] == [(0, 0.0)], json.dumps(loaded)
