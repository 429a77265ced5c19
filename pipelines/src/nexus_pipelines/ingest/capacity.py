"""How many documents are read at once: as many as the step's cores and memory bear."""

import os
from pathlib import Path

_MOST = 4
_OWN = 1024**3
"""What the step takes beside its parsers: batches of chunks, clients of three stores."""
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of cgroup versions 2 and 1


def readers(documents: int, memory_each: int, *, cgroup: Path = _CGROUP) -> int:
    """Return how many parsers may run, one at least.

    memory_each: bytes that parsing one document may take.  Where the container has a limit, all
    of them must fit below it: past it the kernel ends the step, and each new attempt after it.
    """
    bounds = [_MOST, len(os.sched_getaffinity(0)), documents]
    if (limit := _limit(cgroup)) is not None:
        bounds.append((limit - _OWN) // memory_each)
    return max(1, min(bounds))


def _limit(cgroup: Path) -> int | None:
    for name in _LIMITS:
        try:
            return int((cgroup / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue  # not this version, or `max`
    return None
