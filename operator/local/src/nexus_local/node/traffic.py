"""How many connections lead to each local port now, so that a pod can be drained."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable


class Traffic:
    """Counts connections by target port; belongs to one event loop."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: Counter[int] = Counter()
        self._ended = asyncio.Event()

    def begin(self, port: int) -> None:
        """Count a connection that goes to the port."""
        self._open[port] += 1

    def end(self, port: int) -> None:
        """Count a connection to the port as over."""
        self._open[port] -= 1
        if not self._open[port]:
            del self._open[port]
            self._ended.set()

    async def quiet(self, ports: Iterable[int], seconds: float) -> bool:
        """Wait until no connection leads to any of the ports, at most so long; say whether."""
        wanted = set(ports)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while wanted & self._open.keys():
                    self._ended.clear()
                    await self._ended.wait()
        return not wanted & self._open.keys()
