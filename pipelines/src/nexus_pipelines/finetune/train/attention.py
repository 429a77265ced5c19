"""Attention over conversations that lie one after the other in a single row, without padding.

Every linear layer then works on real tokens alone; attention runs within each conversation.
Registered with transformers under `NAME`; a model opened with it is told the conversations'
lengths by `Packed.lengths` before each call.
"""

from collections.abc import Sequence
from typing import Any

NAME = "nexus_packed"


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
        import torch

        repeats = query.shape[1] // key.shape[1]
        parts = []
        for q, k, v in zip(
            *(tensor.split(list(self.lengths), dim=2) for tensor in (query, key, value)),
            strict=True,
        ):
            if repeats > 1:
                k, v = (t.repeat_interleave(repeats, dim=1) for t in (k, v))  # noqa: PLW2901
            mask = _window(q.shape[2], sliding_window, q.device)
            parts.append(
                torch.nn.functional.scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling
                )
            )
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _window(length: int, window: int | None, device: Any) -> Any:
    """Return the mask of a sliding window; None where it hides nothing."""
    import torch

    if window is None or window >= length:
        return None
    at = torch.arange(length, device=device)
    far = at[:, None] - at[None, :]
    return (far >= 0) & (far < window)
