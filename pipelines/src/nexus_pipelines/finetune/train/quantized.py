"""A frozen base in 4 bits, as QLoRA trains on one: a quarter of bfloat16's memory for its weights.

bitsandbytes keeps the weights as NF4 in blocks, the blocks' scales quantised once more; a layer's
weight is written out in the products' number format when it is used, forwards and backwards.
The adapter learns to answer well on the base as rounded so; what serves it may round otherwise,
which the evaluation, done by what serves, counts in.
Definition: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314.
"""

from collections.abc import Callable, Mapping
from typing import Any

NF4 = "NF4"


def loading(quantization: str, *, dtype: Any, where: str) -> Mapping[str, Any]:
    """Return how transformers is to open the weights: its options, none for weights as they are.

    Raises ModuleNotFoundError when bitsandbytes is asked for and not installed.
    """
    if quantization != NF4:
        return {}
    import bitsandbytes  # noqa: F401  transformers would say less clearly that it is not there
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": where}}


def matrix(layer: Any) -> Callable[[Any], Any]:
    """Return what gives a linear layer's weight [out, in] in a number format, each time anew."""
    if getattr(layer.weight, "quant_state", None) is None:
        return lambda _dtype: layer.weight
    from bitsandbytes.functional import dequantize_4bit

    return lambda dtype: dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
