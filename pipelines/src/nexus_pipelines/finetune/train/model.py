"""A base model with an adapter: the loss of a few conversations, and its gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nexus_pipelines.finetune.train.attention import Packed
from nexus_pipelines.finetune.train.base import Base
from nexus_pipelines.finetune.train.errors import BaseUnusable
from nexus_pipelines.finetune.train.examples import Example
from nexus_pipelines.finetune.train.lora import Adapter


@dataclass
class Tuned:
    """The model, its adapter, and the attention that is told the conversations' lengths."""

    model: Any
    adapter: Adapter
    packed: Packed

    @classmethod
    def open(
        cls,
        base: Base,
        *,
        r: int,
        alpha: int,
        dropout: float,
        target: str,
        dtype: Any,
        where: str,
        quantization: str = "asIs",
    ) -> "Tuned":
        """Open a base model and put an adapter on it.

        Raises:
            BaseUnusable: the model cannot be tuned; says why.
        """
        packed = Packed()
        model = base.model(
            dtype=dtype, attention=packed.register(), quantization=quantization, where=where
        )
        if getattr(model.config, "attn_logit_softcapping", None):
            raise BaseUnusable(
                f"{base.uri}: models that cap attention logits (Gemma 2) cannot be tuned"
            )
        model.config.use_cache = False
        adapter = Adapter(model, r=r, alpha=alpha, dropout=dropout, target=target)
        model.train()
        return cls(model, adapter, packed)

    def loss(self, examples: Sequence[Example]) -> Any:
        """Return the summed loss of the answers' tokens, a scalar that has a gradient.

        The conversations stand in one row without padding, and logits are computed only where
        the next token is one that is learnt.
        """
        ids: list[int] = []
        positions: list[int] = []
        before: list[int] = []  # where the next token is learnt
        learnt: list[int] = []
        for example in examples:
            start = len(ids)
            ids += example.tokens
            positions += range(len(example.tokens))
            before += range(start + example.answer - 1, start + len(example.tokens) - 1)
            learnt += example.tokens[example.answer :]
        self.packed.lengths = [len(example.tokens) for example in examples]
        where = self.adapter.weights.device
        logits = self.model(
            input_ids=torch.tensor([ids], device=where),
            position_ids=torch.tensor([positions], device=where),
            logits_to_keep=torch.tensor(before, device=where),
        ).logits[0]
        wanted = torch.tensor(learnt, device=where)
        return torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="sum")
