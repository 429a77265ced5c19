"""What of the machine is ours: threads by affinity and quota, and number formats by hardware."""

import math
import os
from pathlib import Path
from typing import Any

_CGROUP = Path("/sys/fs/cgroup")


def threads(*, cgroup: Path = _CGROUP) -> int:
    """Return how many threads may run at once: the affinity, or the cgroup's quota if smaller."""
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Read how many cores the cgroup (version 2) may use; None without a limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def device() -> str:
    """Return where tensors live: `cuda` when there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype(where: str) -> Any:
    """Return the number format that the hardware multiplies fastest: bfloat16 or float32."""
    import torch

    if where == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Without these instructions bfloat16 is emulated, slower than float32.
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return torch.bfloat16 if fast else torch.float32
