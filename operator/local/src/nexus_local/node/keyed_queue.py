"""Keys that want attention, each once, now or later; worked off one after another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from nexus_operator.cluster.errors import ClusterError

_Key = TypeVar("_Key", bound=Hashable)

_RETRY_SECONDS = 1.0
_LATER_SECONDS = 30.0
_log = logging.getLogger(__name__)


class KeyedQueue(Generic[_Key]):
    """Calls `handle` for every key that was added since it was last called for it.

    handle: returns the seconds after which it wants to be called again, or None.
    """

    def __init__(self, handle: Callable[[_Key], Awaitable[float | None]]) -> None:
        """Begin with nothing to do."""
        self._handle = handle
        self._due: dict[_Key, None] = {}
        self._later: dict[_Key, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def add(self, key: _Key) -> None:
        """Ask for a call for this key as soon as possible."""
        if timer := self._later.pop(key, None):
            timer.cancel()
        self._due[key] = None
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; a call that failed is made again after a while.

        An object that makes no sense, which anybody may have applied, ends its own call alone.
        """
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._due:
                    key = next(iter(self._due))
                    del self._due[key]
                    await self._once(key)
        finally:
            for timer in self._later.values():
                timer.cancel()

    async def _once(self, key: _Key) -> None:
        try:
            later = await self._handle(key)
        except ClusterError as error:
            _log.warning("%s: %s; trying again", key, error)
            later = _RETRY_SECONDS
        except Exception:  # noqa: BLE001 - it is logged with its trace
            _log.exception("%s cannot be dealt with as it stands", key)
            later = _LATER_SECONDS
        if later is not None and key not in self._due:
            if timer := self._later.pop(key, None):
                timer.cancel()
            loop = asyncio.get_running_loop()
            self._later[key] = loop.call_later(later, self.add, key)
