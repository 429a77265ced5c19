"""A LoRA adapter as PEFT writes it: two matrices for each module, and how much they count."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from nexus_pipelines.finetune.convert.errors import AdapterUnusable
from nexus_pipelines.finetune.convert.safetensors_file import Array, read_tensors

_PREFIX = "base_model.model."
_TENSOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")

# What changes the sum W + scale * B A into something that two matrices cannot say.
_OTHER_FORMS = (
    "use_dora", "lora_bias", "fan_in_fan_out", "layer_replication", "modules_to_save",
    "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "use_qalora",
    "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "velora_config",
)  # fmt: skip
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal")
"""Initial weights that leave the base as it is; the others move a part of it into the adapter."""


@dataclass(frozen=True)
class LowRank:
    """The change of one weight matrix: `scale * b @ a`; a: [r, in], b: [out, r]."""

    a: Array
    b: Array
    scale: float


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter.

    Attributes:
        alpha: the configuration's `lora_alpha`.
        modules: the changes by module name, for instance `model.layers.0.self_attn.q_proj`.
    """

    alpha: float
    modules: Mapping[str, LowRank]


def read_adapter(folder: Path) -> PeftAdapter:
    """Read an adapter and refuse what is damaged, without effect, or of another form than LoRA.

    Raises:
        AdapterUnusable: says which file, which field or which tensor.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise AdapterUnusable(f"the adapter has no {name}")
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterUnusable(f"{ADAPTER_CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise AdapterUnusable(f"{ADAPTER_CONFIG} holds no object")
    return adapter_of(config, read_tensors(folder / ADAPTER_WEIGHTS))


def adapter_of(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> PeftAdapter:
    """Bring configuration and tensors together.  Raises as `read_adapter`."""
    _refuse_other_forms(config)
    pairs: dict[str, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        found = _TENSOR.fullmatch(name.removeprefix(_PREFIX))
        if found is None or tensor.ndim != 2:  # noqa: PLR2004 - a matrix
            raise AdapterUnusable(f"tensor {name} is no part of a LoRA adapter of linear layers")
        if not np.isfinite(tensor).all():
            raise AdapterUnusable(f"tensor {name} holds numbers that are not finite")
        pairs.setdefault(found["module"], {})[found["side"]] = tensor
    if not pairs:
        raise AdapterUnusable("the adapter holds no tensors")
    modules = {name: _module(name, pair, config) for name, pair in sorted(pairs.items())}
    if not any(module.b.any() for module in modules.values()):
        raise AdapterUnusable("the adapter changes nothing: lora_B is zero in every module")
    return PeftAdapter(alpha=_number(config, "lora_alpha"), modules=modules)


def _refuse_other_forms(config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise AdapterUnusable(f"peft_type is {config.get('peft_type')}, and only LORA is served")
    if config.get("bias", "none") != "none":
        raise AdapterUnusable(f"bias is {config['bias']!r}: llama.cpp has no adapters with bias")
    for field in _OTHER_FORMS:
        if config.get(field):
            raise AdapterUnusable(f"{field} is set: llama.cpp cannot apply such an adapter")
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise AdapterUnusable(f"init_lora_weights is {start!r}, which changes the base model too")


def _module(name: str, pair: Mapping[str, Array], config: Mapping[str, Any]) -> LowRank:
    if pair.keys() != {"A", "B"}:
        raise AdapterUnusable(f"module {name} has only one of lora_A and lora_B")
    a, b = pair["A"], pair["B"]
    rank = int(_pattern(config, "rank_pattern", name, _number(config, "r")))
    if a.shape[0] != rank or b.shape[1] != rank:
        raise AdapterUnusable(
            f"module {name} has matrices of rank {a.shape[0]} and {b.shape[1]}, and the "
            f"configuration says {rank}"
        )
    alpha = _pattern(config, "alpha_pattern", name, _number(config, "lora_alpha"))
    return LowRank(a, b, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _pattern(config: Mapping[str, Any], field: str, module: str, default: float) -> float:
    """Return what PEFT takes for a module: the first pattern that its name ends with."""
    patterns = config.get(field) or {}
    if not isinstance(patterns, dict):
        raise AdapterUnusable(f"{field} is {patterns!r} in {ADAPTER_CONFIG}, not an object")
    for pattern in patterns:
        try:
            matches = re.fullmatch(rf"(.*\.)?({pattern})", module)
        except re.error as error:
            raise AdapterUnusable(f"{field}: {pattern!r} is no pattern: {error}") from error
        if matches:
            return _number(patterns, pattern)
    return default


def _number(config: Mapping[str, Any], field: str) -> float:
    value = config.get(field)
    number = None if isinstance(value, bool) or not isinstance(value, int | float) else value
    if number is None or not 0 < number < math.inf:
        raise AdapterUnusable(f"{field} is {value!r} in {ADAPTER_CONFIG}, not a positive number")
    return float(number)
