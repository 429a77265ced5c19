"""How llama.cpp is set up for one model: plain values, decided before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path

from nexus_runtime.errors import UnsupportedGguf
from nexus_runtime.gguf_file import GgufHead

PROMPT_BATCH = 256  # prompt tokens computed together: more takes memory and gains nothing
PROMPT_CACHE_MIB = 64  # prompts of earlier conversations, beside the slots' own
SMALLEST_CONTEXT = 256


@dataclass(frozen=True)
class LlamaSettings:
    """What the server is started with.

    Attributes:
        context: tokens of prompt and answer together, for each slot.
        slots: requests computed side by side.
        adapter: a LoRA adapter for requests that ask for it by `lora`; it has the number 0.
    """

    model: Path
    name: str
    context: int
    slots: int
    threads: int
    host: str
    port: int
    verbose: bool
    adapter: Path | None = None


def context_for(head: GgufHead, wanted: int, *, name: str) -> int:
    """Give the context for each slot: what is wanted, but no more than the model was trained for.

    Raises:
        UnsupportedGguf: less is wanted than any chat needs.
    """
    if wanted < SMALLEST_CONTEXT:
        raise UnsupportedGguf(
            f"{name}: a context of {wanted} tokens is too small; {SMALLEST_CONTEXT} is the least"
        )
    return min(wanted, head.context_length or wanted)
