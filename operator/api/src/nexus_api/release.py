"""What is compared, released and rolled back as one: adapter, base, prompt, inference settings."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from nexus_api.decimal_text import Temperature
from nexus_api.meta import Model
from nexus_api.servingmodel import Engine, Quantization
from nexus_api.uri import ModelUri

UNIT_FILE = "unit.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_GGUF = "adapter.gguf"
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_GGUF)
"""The files of an adapter in its folder; the last one is made from the others, for llama.cpp."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReleasableUnit(Model):
    """Everything that decides what a model answers to given passages.

    Two units with the same digest answer alike; where an adapter of known digest lies does not
    count.
    """

    base: ModelUri
    """Address of the base model."""
    base_revision: str = ""
    """Commit, tag or version of the base; empty for the one that the address names."""
    quantization: Quantization = "asIs"
    """Number format in which the base is served."""
    adapter_uri: ModelUri | None = None
    """Folder of the LoRA adapter; none for the base alone."""
    adapter_digest: Sha256 | None = None
    """Digest of the adapter's files, as `adapter_digest` gives it."""
    prompt: str = ""
    """System prompt; empty for the platform's own."""
    prompt_tokens: Annotated[int, Field(ge=64)] = 900
    """Most prompt tokens, passages included."""
    context_tokens: Annotated[int, Field(ge=256)] = 4096
    """Longest prompt and answer together."""
    temperature: Temperature = "0"
    """Sampling temperature."""
    max_tokens: Annotated[int, Field(ge=1)] = 160
    """Longest answer."""
    engine: Engine = "llamacpp"
    """Engine that serves it."""

    @property
    def adapted(self) -> bool:
        """Whether there is an adapter on the base."""
        return self.adapter_uri is not None or self.adapter_digest is not None

    def digest(self) -> str:
        """Return the SHA-256 (hex) of what the unit is."""
        placed = {"adapter_uri"} if self.adapter_digest is not None else set[str]()
        parts = self.model_dump(mode="json", by_alias=True, exclude=placed)
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def adapter_digest(files: Mapping[str, str]) -> str:
    """Return the digest (SHA-256, hex) of an adapter, from the SHA-256 (hex) of each of its files.

    Only `ADAPTER_FILES` count; what lies beside them in the folder does not.

    Raises:
        ValueError: there is neither form of the weights among the files.
    """
    known = {name: files[name] for name in ADAPTER_FILES if name in files}
    if not known.keys() & {ADAPTER_WEIGHTS, ADAPTER_GGUF}:
        raise ValueError(f"an adapter needs {ADAPTER_WEIGHTS} or {ADAPTER_GGUF}")
    lines = "".join(f"{name}\0{known[name]}\n" for name in sorted(known))
    return hashlib.sha256(lines.encode()).hexdigest()
