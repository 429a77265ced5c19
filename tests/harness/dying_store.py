"""A store in which the process dies at one of its writes, as by SIGKILL."""

from __future__ import annotations

from typing import Any

from nexus_knowledge.objects import ObjectStore


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


class DyingStore:
    """A store whose write number `at`, from 0, is the last thing the process does.

    after: whether that write still arrives.
    """

    def __init__(self, store: ObjectStore, at: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, data: Any, *, size: int | None = None) -> Any:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Killed
        info = self._store.put(key, data, size=size)
        if self._left < 0:
            raise Killed
        return info
