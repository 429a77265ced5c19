"""Attention over conversations that lie one after the other in a single row, without padding.

Every linear layer then works on real tokens alone; attention runs within each conversation.
Registered with transformers under `NAME`; a model opened with it is told the conversations'
lengths by `Packed.lengths` before each call.

On a CPU in bfloat16 torch's gradient of attention is slow: for 100 to 250 tokens (9 heads of 64)
the plain products below took 1.4 to 7.0 ms where it took 4.4 to 10.5 (one core, AVX512_BF16); for
long conversations, whose table of weights leaves the cache, torch's are the faster.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

NAME = "nexus_packed"
_SHORT = 320  # tokens up to which the plain products are the faster on a CPU


class Packed:
    """The attention function, and the lengths of the conversations in the row."""

    def __init__(self) -> None:
        self.lengths: Sequence[int] = ()

    def register(self) -> str:
        """Make the function known to transformers; return the name to open a model with."""
        from transformers import AttentionInterface

        AttentionInterface.register(NAME, self)
        return NAME

    def __call__(
        self,
        _module: Any,
        query: Any,
        key: Any,
        value: Any,
        _mask: Any,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **_options: Any,
    ) -> tuple[Any, None]:
        """Attend within each conversation.

        Args:
            query: [1, heads, tokens, width]; `key` and `value` with as many heads or fewer.
            key: see `query`.
            value: see `query`.
            scaling: factor on the products; 1 / sqrt(width) when None.
            sliding_window: tokens that a token sees, itself among them; all when None.

        Returns:
            [1, tokens, heads, width].
        """
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        queries, keys, values = (t.split(list(self.lengths), dim=2) for t in (query, key, value))
        parts = [
            _attend(q, k, v, scale, sliding_window)
            for q, k, v in zip(queries, keys, values, strict=True)
        ]
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend(query: Any, key: Any, value: Any, scale: float, window: int | None) -> Any:
    length = query.shape[2]
    hides = window is not None and window < length
    plain = query.device.type == "cpu" and query.dtype == torch.bfloat16 and length <= _SHORT
    if plain and not hides:
        return _Plain.apply(query, key, value, scale)
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=_band(length, window, query.device) if hides and window else None,
        is_causal=not hides,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _band(length: int, window: int, device: Any) -> Any:
    """Return the mask of a sliding window."""
    at = torch.arange(length, device=device)
    far = at[:, None] - at[None, :]
    return (far >= 0) & (far < window)


class _Plain(torch.autograd.Function):  # type: ignore[misc]
    """Causal attention by plain products, its weights kept; heads that share a key are one."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, scale: float) -> Any:
        """query: [1, heads, tokens, width]; key and value: [1, groups, tokens, width]."""
        _, heads, length, width = query.shape
        groups = key.shape[1]
        q = query.reshape(groups, -1, width)
        k, v = key.reshape(groups, length, width), value.reshape(groups, length, width)
        later = torch.ones(length, length, dtype=torch.bool).triu_(1)
        scores = torch.bmm(q, k.transpose(1, 2)).float().mul_(scale).view(heads, length, length)
        weights = scores.masked_fill_(later, -math.inf).softmax(-1).to(query.dtype)
        weights = weights.view(groups, -1, length)
        found = torch.bmm(weights, v)
        ctx.save_for_backward(q, k, v, weights, found)
        ctx.scale = scale
        return found.view(query.shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """grad: [1, heads, tokens, width]."""
        q, k, v, weights, found = ctx.saved_tensors
        g = grad.reshape(q.shape)
        of_value = torch.bmm(weights.transpose(1, 2), g)
        of_weights = torch.bmm(g, v.transpose(1, 2))
        # softmax: its gradient is the weight times how far its own part is from the mean.
        mean = (g * found).sum(-1, keepdim=True)
        of_scores = of_weights.sub_(mean).mul_(weights).mul_(ctx.scale)
        of_query = torch.bmm(of_scores, k)
        of_key = torch.bmm(of_scores.transpose(1, 2), q)
        return of_query.view(grad.shape), of_key[None], of_value[None], None
