"""AdamW on one flat vector, its state in two others that a checkpoint can hold.

Definition: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101; no weight decay.
"""

from typing import Any

import torch

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


class AdamW:
    """Moves `weights` against `gradients`; all vectors are float32 of one length."""

    def __init__(self, weights: Any, gradients: Any) -> None:
        self._weights, self._gradients = weights, gradients
        self.first = torch.zeros_like(weights)
        self.second = torch.zeros_like(weights)

    def clip(self, longest: float) -> float:
        """Shorten the gradient to at most `longest`; return how long it was."""
        length = float(self._gradients.norm())
        if length > longest:
            self._gradients.mul_(longest / length)
        return length

    def step(self, number: int, rate: float) -> None:
        """Take step `number`, counted from 0."""
        self.first.lerp_(self._gradients, 1 - _FIRST)
        self.second.mul_(_SECOND).addcmul_(self._gradients, self._gradients, value=1 - _SECOND)
        spread = (self.second / (1 - _SECOND ** (number + 1))).sqrt_().add_(_TINY)
        self._weights.addcdiv_(self.first, spread, value=-rate / (1 - _FIRST ** (number + 1)))
