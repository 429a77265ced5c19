"""LoRA adapters as vLLM loads them, behind Triton or alone, looked at before.

The backend opens an adapter when it is first asked for, long after its server says that it is
ready.  What it would refuse then, and what it would compute otherwise than PEFT does, ends the
step here, so that no revision goes live with it.
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from nexus_pipelines.errors import StepError

Shapes = Mapping[str, tuple[int, ...]]
"""Sizes of tensors by their names."""

_LARGEST_CONFIG = 1 << 20
_LARGEST_HEAD = 64 << 20
_MATRIX = 2  # dimensions
_PREFIX = "base_model.model."
_PART = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")

_TIED = "lm_head"
"""May be the embedding under another name; then the weights do not hold it."""

_OTHER_FORMS = (
    "use_dora", "lora_bias", "modules_to_save", "layer_replication", "alora_invocation_tokens",
    "use_qalora", "use_bdlora", "trainable_token_indices", "target_parameters",
    "rank_pattern", "alpha_pattern",  # left out of account by releases of vLLM that images have
)  # fmt: skip
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal")
"""Initial weights that leave the base as it is."""

_DAMAGE = (
    OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError,
    RecursionError,
)  # fmt: skip


class AdapterNotServed(StepError):
    """The backend could not apply an adapter, or not as it was trained."""


def check_adapters(folders: Mapping[str, Path], room: int, weights: Path) -> None:
    """Refuse what the backend cannot serve.

    Args:
        folders: the adapters' folders by name, in PEFT's form.
        room: largest rank that the engine is told to make room for.
        weights: folder of the base model's safetensors.

    Raises:
        AdapterNotServed: names the adapter and what is wrong with it.
    """
    base = _base(weights) if folders else {}
    for name, folder in folders.items():
        try:
            config = _config(folder)
            rank = _check_rank(config, room)
            _check_form(config)
            _check_modules(_shapes(folder / ADAPTER_WEIGHTS), base, rank)
        except AdapterNotServed as error:
            raise AdapterNotServed(f"adapter {name}: {error}") from error


def check_fits(folder: Path, room: int, weights: Path) -> None:
    """Refuse an adapter of another base or of too large a rank; its form is the engine's affair.

    vLLM by itself judges the configuration when it loads an adapter, but takes matrices of other
    sizes than the base's without a word.  Takes what `check_adapters` takes, of one adapter.

    Raises:
        AdapterNotServed: says what is wrong.
    """
    _check_rank(_config(folder), room)
    base = _base(weights)
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in _shapes(folder / ADAPTER_WEIGHTS).items():
        found = _PART.fullmatch(name.removeprefix(_PREFIX))
        if found is not None and len(shape) == _MATRIX:
            pairs.setdefault(found["module"], {})[found["side"]] = shape
    for module, pair in pairs.items():
        if pair.keys() == {"A", "B"}:
            _check_size(module, pair, base.get(f"{module}.weight"))


def _base(weights: Path) -> Shapes:
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(weights.glob("*.safetensors")):
        found.update(_shapes(file))
    return found


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / ADAPTER_CONFIG
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(_LARGEST_CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterNotServed(f"{ADAPTER_CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise AdapterNotServed(f"{ADAPTER_CONFIG} holds no object")
    return config


def _check_rank(config: Mapping[str, Any], room: int) -> int:
    """Return the rank."""
    if config.get("peft_type") != "LORA":
        raise AdapterNotServed(f"peft_type is {config.get('peft_type')!r}, and only LORA is served")
    rank = config.get("r")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise AdapterNotServed(f"r is {rank!r} in {ADAPTER_CONFIG}, not a rank")
    if rank > room:
        raise AdapterNotServed(
            f"its rank is {rank}, and the engine has room for {room}: raise "
            f"spec.runtime.maxLoraRank to {rank}"
        )
    return rank


def _check_form(config: Mapping[str, Any]) -> None:
    if config.get("bias", "none") != "none":
        raise AdapterNotServed(f"bias is {config['bias']!r}: the engine serves adapters without")
    for field in _OTHER_FORMS:
        if config.get(field):
            raise AdapterNotServed(f"{field} is set: the engine cannot apply such an adapter")
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise AdapterNotServed(f"init_lora_weights is {start!r}, which changes the base model too")


def _check_modules(tensors: Shapes, base: Shapes, rank: int) -> None:
    """Hold the adapter's matrices against its rank, and against the base's where those are plain.

    The engine makes room by the configuration's rank and fills it from the matrices.
    """
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in tensors.items():
        found = _PART.fullmatch(name.removeprefix(_PREFIX))
        if found is None or len(shape) != _MATRIX:
            raise AdapterNotServed(f"tensor {name} is no part of a LoRA adapter of linear layers")
        pairs.setdefault(found["module"], {})[found["side"]] = shape
    if not pairs:
        raise AdapterNotServed("it holds no tensors")
    known = any(f"{module}.weight" in base for module in pairs)
    for module, pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise AdapterNotServed(f"module {module} has only one of lora_A and lora_B")
        ranks = dict.fromkeys((pair["A"][0], pair["B"][1]))
        if list(ranks) != [rank]:
            raise AdapterNotServed(
                f"module {module} has matrices of rank {' and '.join(map(str, ranks))}, and "
                f"{ADAPTER_CONFIG} says {rank}"
            )
        wanted = base.get(f"{module}.weight")
        if known and wanted is None and module != _TIED:
            raise AdapterNotServed(f"the base model has no module {module}: is it another base's?")
        _check_size(module, pair, wanted)


def _check_size(
    module: str, pair: Mapping[str, tuple[int, ...]], wanted: tuple[int, ...] | None
) -> None:
    changed = (pair["B"][0], pair["A"][1])
    if wanted is not None and wanted != changed:
        raise AdapterNotServed(
            f"module {module} changes a matrix of {changed[0]} x {changed[1]}, and the base "
            f"model has {' x '.join(map(str, wanted))}: is it another base's?"
        )


def _shapes(path: Path) -> Shapes:
    """Read the head of a safetensors file.  Raises AdapterNotServed."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(min(length, _LARGEST_HEAD)))
        head.pop("__metadata__", None)
        return {name: tuple(int(n) for n in entry["shape"]) for name, entry in head.items()}
    except _DAMAGE as error:
        raise AdapterNotServed(f"{path.name} is no whole safetensors file: {error}") from error
