"""Rows as they come, in small objects, so that a killed step goes on from them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from nexus_pipelines.finetune.store import FineTuneStore

_MOST, _SECONDS = 32, 20.0  # rows and seconds between two objects


class _Row(Protocol):
    """A NamedTuple with an id."""

    @property
    def id(self) -> str: ...
    def _asdict(self) -> dict[str, Any]: ...


Row = TypeVar("Row", bound=_Row)


class Kept(Generic[Row]):
    """What was got for each item by one way of asking, which the name of the folder tells.

    folder: below the folder of the step.  make: makes a row of its fields.
    """

    def __init__(self, store: FineTuneStore, folder: str, make: Callable[..., Row]) -> None:
        self._store = store
        self._folder = f"evaluate/{folder}"
        self._make = make
        self._fresh: list[Row] = []
        self._written = time.monotonic()

    def known(self) -> dict[str, Row]:
        """Return what earlier attempts got, by id."""
        found = {}
        for name in self._store.names(self._folder):
            for row in self._store.lines(f"{self._folder}/{name}"):
                found[row["id"]] = self._make(**row)
        return found

    def keep(self, row: Row) -> None:
        """Take a row; it is stored with others, after a while."""
        self._fresh.append(row)
        if len(self._fresh) >= _MOST or time.monotonic() - self._written > _SECONDS:
            self._flush()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Store what was got when the block ends, however it ends."""
        try:
            yield
        finally:
            self._flush()

    def _flush(self) -> None:
        self._written = time.monotonic()
        if self._fresh:
            # Named by its first item: asked once, so no two objects have the same.
            count = len(self._store.names(self._folder))
            rows = [row._asdict() for row in self._fresh]
            self._store.put_lines(f"{self._folder}/{count:06}.jsonl", rows)
            self._fresh.clear()
