"""One process owns a store: an advisory lock that the kernel drops when that process dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from nexus_local.store.errors import StoreLockedError


class OwnerLock:
    """Holds `<path>.lock`, which names the owner's pid, until `release`."""

    def __init__(self, path: Path) -> None:
        """Take the lock on `path`; raises StoreLockedError when another process holds it."""
        self._file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StoreLockedError(path, int(text) if text.isdecimal() else None) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode("ascii"), 0)

    def release(self) -> None:
        """Give the store up; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
