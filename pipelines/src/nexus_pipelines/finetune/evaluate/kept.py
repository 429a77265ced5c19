"""Answers of one side as they come, in small objects, so that a killed step goes on from them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from nexus_pipelines.finetune.evaluate.core import Reply
from nexus_pipelines.finetune.store import FineTuneStore

_MOST, _SECONDS = 32, 20.0  # answers and seconds between two objects


class Kept:
    """The answers of one side to one golden set; `inputs` names what they were asked with."""

    def __init__(self, store: FineTuneStore, side: str, inputs: str) -> None:
        self._store = store
        self._folder = f"evaluate/answers/{side}-{inputs[:16]}"
        self._fresh: list[Reply] = []
        self._written = time.monotonic()

    def known(self) -> dict[str, Reply]:
        """Return what was answered by earlier attempts."""
        found = {}
        for name in self._store.names(self._folder):
            for row in self._store.lines(f"{self._folder}/{name}"):
                found[row["id"]] = Reply(**row)
        return found

    def keep(self, reply: Reply) -> None:
        """Take an answer; it is stored with others, after a while."""
        self._fresh.append(reply)
        if len(self._fresh) >= _MOST or time.monotonic() - self._written > _SECONDS:
            self._flush()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Store what was answered when the block ends, however it ends."""
        try:
            yield
        finally:
            self._flush()

    def _flush(self) -> None:
        self._written = time.monotonic()
        if self._fresh:
            # Named by its first item: asked once, so no two objects have the same.
            count = len(self._store.names(self._folder))
            rows = [reply._asdict() for reply in self._fresh]
            self._store.put_lines(f"{self._folder}/{count:06}.jsonl", rows)
            self._fresh.clear()
