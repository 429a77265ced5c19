"""A queue of keys: each stands in it once, one worker has it at a time, and it may come later."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

URGENT_IN_TURN = 7
"""Urgent keys that are handed out before one that is not, when both wait."""


class KeyedQueue(Generic[K]):
    """Keys to work on.  Hints coalesce: a key that is added a hundred times is handed out once.

    A key that is added while a worker has it is handed out again when that worker is done, never
    to two workers at the same time.  Each of two lanes, urgent and not, is first in, first out, and
    none starves the other.
    """

    def __init__(self, *, on_time: Callable[[K], None] | None = None) -> None:
        """Start empty; `on_time` is told of each key whose delay is over, before it is added."""
        self._on_time = on_time
        self._urgent: deque[K] = deque()
        self._normal: deque[K] = deque()
        self._turn = 0
        self._there = asyncio.Semaphore(0)
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Return the number of keys that wait for a worker now."""
        return len(self._waiting)

    def urgent(self) -> bool:
        """Return whether an urgent key waits."""
        return bool(self._urgent)

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Ask for work on the key as soon as possible; a key that waits keeps its place."""
        self._cancel_timer(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            (self._urgent if urgent else self._normal).append(key)
            self._there.release()

    def add_after(self, key: K, delay: timedelta) -> None:
        """Ask for work on the key after `delay`, unless it is asked for earlier."""
        if delay <= timedelta(0):
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + delay.total_seconds()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= at:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(at, self._due, key)

    async def get(self) -> K:
        """Wait for the next key; give it back with `done`."""
        await self._there.acquire()
        key = self._next()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """End the work on a key that `get` returned."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Drop all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _next(self) -> K:
        if not self._urgent or (self._normal and self._turn >= URGENT_IN_TURN):
            self._turn = 0
            return self._normal.popleft()
        self._turn += 1
        return self._urgent.popleft()

    def _due(self, key: K) -> None:
        if self._on_time is not None:
            self._on_time(key)
        self.add(key)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
