"""How vLLM is told to serve a model, and its word for an answer that it does not complete.

The pod of a ServingModel and the evaluation of a FineTuneJob say the same by these functions, so
that what is measured is what serves.
"""

from collections.abc import Mapping
from types import MappingProxyType

PROGRAM = ("vllm", "serve")

GIVEN_UP = "abort"
"""The `finish_reason` of an answer that is not complete: vLLM is told to end, as a rule."""

OFFLINE: Mapping[str, str] = MappingProxyType(
    {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
)
"""Environment of a server that reads fetched files and calls nobody."""


def served(
    *, name: str, host: str, port: int, context_tokens: int, slots: int, gpus: int
) -> dict[str, str]:
    """Return the flags beside the folder of the weights, in order.

    name: by which requests ask for the model.  context_tokens: longest prompt and answer together.
    slots: requests computed at the same time.  gpus: that share the weights; 0 is one device.
    """
    return {
        "--served-model-name": name,
        "--host": host,
        "--port": str(port),
        "--dtype": "auto",
        "--max-model-len": str(context_tokens),
        "--max-num-seqs": str(slots),
        "--tensor-parallel-size": str(max(1, gpus)),
    }


def adapted(adapters: Mapping[str, str], max_rank: int) -> list[str]:
    """Return the arguments that load LoRA adapters: none when there are none.

    adapters: folders by the names that requests ask for.  max_rank: of any of them.
    """
    if not adapters:
        return []
    return [
        "--enable-lora",
        *("--max-lora-rank", str(room_for(max_rank))),
        *("--max-loras", str(len(adapters))),
        *("--lora-modules", *(f"{name}={folder}" for name, folder in adapters.items())),
    ]


RUNTIME_LOADING: Mapping[str, str] = MappingProxyType({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"})
"""Environment of a server that takes adapters while it runs, from whoever can reach it."""


def loading(adapters: int, max_rank: int) -> list[str]:
    """Return the arguments of a server that is given its adapters while it runs.

    adapters: how many are served beside the model.  max_rank: of any of them.

    One more may be computed at the same time: while answers by an old version are being written,
    those by the new one would else wait for their end.  Three times as many stay in memory: one
    that is unloaded keeps its place there until others need it, and none is read from disk again
    while each has two versions more.
    """
    return [
        "--enable-lora",
        *("--max-lora-rank", str(room_for(max_rank))),
        *("--max-loras", str(adapters + 1)),
        *("--max-cpu-loras", str(3 * adapters)),
    ]


def room_for(rank: int) -> int:
    """Return the smallest rank of adapters that vLLM makes room for and that holds this one."""
    return max(8, 1 << (rank - 1).bit_length())
