"""The tiny model with an adapter, in PEFT's form and in llama.cpp's.

model, base = tiny_base(tmp_path)
adapted = tiny_adapter(model, base, tmp_path / "adapter")
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_model import tiny_gguf, tiny_model

from nexus_pipelines.finetune.convert.gguf_adapter import convert


@contextmanager
def peft_is_behind() -> Iterator[None]:
    """PEFT asks transformers by a name that goes away with version 6; that is no fault of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
        yield


@dataclass(frozen=True)
class Adapted:
    """A base model and its adapter: folders for transformers, files for llama.cpp."""

    model: Path
    base: Path
    adapter: Path
    gguf: Path


def tiny_base(root: Path, **settings: int) -> tuple[Path, Path]:
    """Write the tiny model as a folder of safetensors, and as a GGUF file."""
    model = tiny_model(root / "model", **settings)
    return model, tiny_gguf(model, root / "tiny.gguf")


def tiny_adapter(
    model: Path, base: Path, folder: Path, *, seed: int = 7, **settings: Any
) -> Adapted:
    """Write an adapter with random weights on both sides, as if it had learnt a lot."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=modules, **settings)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), peft_is_behind():
        torch.manual_seed(seed)
        tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    tuned.save_pretrained(folder)
    convert(folder, base, folder / "adapter.gguf")
    return Adapted(model, base, folder, folder / "adapter.gguf")
