"""A lock between processes that share one cache."""

import fcntl
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nexus_models.errors import CacheBusy

_PAUSE = 0.05


@contextmanager
def exclusive(path: Path, *, deadline: float) -> Iterator[None]:
    """Hold the lock file `path`; the kernel releases it when the process dies.

    Args:
        path: the lock file; it is made when missing and never removed.
        deadline: seconds to wait for another holder.

    Raises:
        CacheBusy: the lock was not free within the deadline.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + deadline
    with path.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise CacheBusy(
                        f"{path}: another process has held this lock for {deadline:.0f} s; "
                        "see whether a download hangs"
                    ) from None
                time.sleep(_PAUSE * (1 + random.random()))  # noqa: S311  jitter, not a secret
        yield
