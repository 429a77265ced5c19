"""Why the store of a data directory could not be opened."""

from pathlib import Path


class StoreError(Exception):
    """The store could not be opened; the message says what to do."""


class StoreLockedError(StoreError):
    """Another process has the store open.

    pid: of that process; None when it could not be read.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        """Name the store and the process that holds it."""
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"{path} is in use by {holder}; stop that platform first "
            "(Ctrl-C in its terminal) or choose another --data-dir"
        )
        self.path = path
        self.pid = pid


class StoreDamagedError(StoreError):
    """The file is not a readable store."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the file and what SQLite said about it."""
        super().__init__(
            f"{path} cannot be read ({reason}); put back a copy, or move the file away and apply "
            "your resources again: documents and their index are kept elsewhere"
        )
        self.path = path
