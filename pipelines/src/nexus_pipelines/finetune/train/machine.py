"""What of the machine is ours: threads by affinity and quota, and number formats by hardware."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_pipelines.finetune.train.errors import gpu_unseen

_CGROUP = Path("/sys/fs/cgroup")


def threads(*, cgroup: Path = _CGROUP, environ: Mapping[str, str] = os.environ) -> int:
    """Return how many threads may run at once.

    The smallest of the affinity, the cgroup's quota, and OMP_NUM_THREADS where it is set: more
    threads than cores wait for each other at every product.
    """
    limits = [float(len(os.sched_getaffinity(0)))]
    if (quota := _quota(cgroup)) is not None:
        limits.append(quota)
    if (stated := environ.get("OMP_NUM_THREADS", "")).isdigit():
        limits.append(int(stated))
    return max(1, math.ceil(min(limits)))


def _quota(cgroup: Path) -> float | None:
    """Read how many cores the cgroup (version 2) may use; None without a limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def expect_gpu(gpus: int) -> None:
    """Fail where a pod was given GPUs and torch sees none; nobody would wait for its CPU.

    gpus: how many the pod holds; 0: none was asked for, so any device will do.  One is used, and
    time-slicing may show several as one, so fewer than the pod holds are enough.

    Raises:
        GpuUnusable: torch has no GPU.
        GpuFailed: it has none yet.
    """
    if gpus <= 0:
        return
    import torch

    try:
        torch.cuda.init()  # is_available() would not say why there is none
    except (AssertionError, RuntimeError) as error:  # builds without CUDA, and with it
        raise gpu_unseen(gpus, error) from error


def device() -> str:
    """Return where tensors live: `cuda` when there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype(where: str) -> Any:
    """Return the number format that the hardware multiplies fastest: bfloat16 or float32."""
    import torch

    if where == "cuda":
        # Before Ampere bfloat16 is emulated on GPUs, and torch counts that as support by default.
        real = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if real else torch.float32
    # Without these instructions bfloat16 is emulated, slower than float32.
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return torch.bfloat16 if fast else torch.float32
