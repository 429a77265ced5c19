"""Dropout's masks: the same for the same seed, so a training that was killed goes on as it was.

On a CPU numpy draws them, 16 bits a number, since torch draws there one number after the other;
they are then the same on every CPU.  On a GPU they are drawn where they are used: from the host a
layer would wait for its mask longer than for its products.
"""

import hashlib
from typing import Any, Protocol

import numpy as np
import torch

_NUMBERS = 65536  # that 16 bits can be


class Masks(Protocol):
    """Where masks come from."""

    def seed(self, *parts: int) -> None:
        """Begin the sequence that belongs to these numbers."""
        ...

    def draw(self, values: Any) -> Any:
        """Return a mask for `values`: of its shape, kind and device, 0 or 1 / (1 - share)."""
        ...


class HostMasks:
    """Masks drawn by numpy."""

    def __init__(self, share: float) -> None:
        """Drop this share of all numbers, to the next 65536th."""
        self._bound = round(share * _NUMBERS)
        # What is kept is scaled by what is really kept, 16 bits being coarse.
        self._scale = _NUMBERS / (_NUMBERS - self._bound) if self._bound < _NUMBERS else 0.0
        self._numbers = np.random.Generator(np.random.SFC64(0))

    def seed(self, *parts: int) -> None:
        """Begin the sequence that belongs to these numbers."""
        self._numbers = np.random.Generator(np.random.SFC64(parts))

    def draw(self, values: Any) -> Any:
        """Return a mask for `values`."""
        drawn = np.frombuffer(self._numbers.bytes(2 * values.numel()), dtype=np.int16)
        kept = torch.from_numpy(drawn.copy()) >= self._bound - _NUMBERS // 2
        return kept.to(values.device).to(values.dtype).mul_(self._scale).view(values.shape)


class DeviceMasks:
    """Masks drawn by torch on one device."""

    def __init__(self, share: float, where: str) -> None:
        """Drop this share of all numbers."""
        self._keep = 1 - share
        self._scale = 1 / self._keep if self._keep > 0 else 0.0
        self._numbers = torch.Generator(device=where)

    def seed(self, *parts: int) -> None:
        """Begin the sequence that belongs to these numbers."""
        mixed = hashlib.sha256(",".join(map(str, parts)).encode()).digest()
        self._numbers.manual_seed(int.from_bytes(mixed[:8]) >> 1)

    def draw(self, values: Any) -> Any:
        """Return a mask for `values`."""
        kept = torch.empty(values.shape, dtype=values.dtype, device=values.device)
        return kept.bernoulli_(self._keep, generator=self._numbers).mul_(self._scale)


class Dropout:
    """The masks of a model's layers; layers that read the same input share one."""

    def __init__(self, share: float, where: str = "cpu") -> None:
        """Drop this share of the inputs of layers that compute on `where`."""
        self._masks: Masks = HostMasks(share) if where == "cpu" else DeviceMasks(share, where)
        self._drops = share > 0
        self._last: tuple[Any, Any] | None = None
        self.on = False

    def seed(self, *parts: int) -> None:
        """Begin the sequence of masks that belongs to these numbers; switches dropout on."""
        self._masks.seed(*parts)
        self._last = None
        self.on = self._drops

    def off(self) -> None:
        """Switch dropout off, as for an evaluation."""
        self._last = None
        self.on = False

    def mask(self, values: Any) -> Any:
        """Return the mask of an input: 0 or 1 / (1 - share); None when there is no dropout."""
        if not self.on:
            return None
        if self._last is not None and self._last[0] is values:
            return self._last[1]
        with torch.no_grad():
            mask = self._masks.draw(values)
        self._last = (values, mask)
        return mask
