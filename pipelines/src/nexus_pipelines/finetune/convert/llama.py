"""Names and order of rows of the LLaMA family in GGUF.

llama.cpp turns neighbouring pairs of a head's rows (q and k), the checkpoints turn the two halves
of it; the conversion of a base model reorders the rows, and so must that of its adapter.
Names: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py.
"""

import re
from dataclasses import dataclass

from nexus_pipelines.finetune.convert.errors import AdapterUnusable
from nexus_pipelines.finetune.convert.safetensors_file import Array

ARCHITECTURE = "llama"

_MODULE = re.compile(r"model\.layers\.(?P<layer>0|[1-9][0-9]{0,4})\.(?P<part>[a-z_.]+)")
_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True)
class Heads:
    """The attention heads of a base model: of queries, and of keys and values."""

    queries: int
    keys: int


def gguf_name(module: str) -> str:
    """Return the name of a module's weight in GGUF.

    Raises:
        AdapterUnusable: the module is none of the family's linear layers.
    """
    found = _MODULE.fullmatch(module)
    part = _PARTS.get(found["part"]) if found else None
    if found is None or part is None:
        known = ", ".join(name.rpartition(".")[2] for name in _PARTS)
        raise AdapterUnusable(f"module {module} cannot be adapted; only layers' {known} can")
    return f"blk.{found['layer']}.{part}.weight"


def reordered(name: str, b: Array, heads: Heads) -> Array:
    """Return lora_B of a weight with its rows in the order of the base's GGUF.

    Args:
        name: the weight's name in GGUF.
        b: [out, r].
        heads: of the base model.
    """
    part = name.split(".")[2]
    count = {"attn_q": heads.queries, "attn_k": heads.keys}.get(part)
    if count is None:
        return b
    rows, rank = b.shape
    if rows % (2 * count):
        raise AdapterUnusable(f"{name} has {rows} rows, which {count} heads do not share evenly")
    halves = b.reshape(count, 2, rows // count // 2, rank)
    return halves.swapaxes(1, 2).reshape(rows, rank)
