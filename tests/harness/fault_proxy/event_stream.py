"""Watch events on their way to the client: late, twice, kept back or not at all."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from fault_proxy.faults import Events

_BOOKMARK = b'{"type":"BOOKMARK"'
GONE = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "too old resource version: the fault proxy says so",
    "reason": "Expired",
    "code": 410,
}
ERROR_LINE = json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n"


class Cut(Exception):
    """The watch ends without a word: its connection is to be cut."""


async def disturbed(
    lines: AsyncIterator[bytes], decide: Callable[[], Events | None]
) -> AsyncGenerator[bytes, None]:
    """Yield the lines as the faults want them; raises Cut.

    Bookmarks are never disturbed: a client that misses an event and sees the bookmark after it
    believes that it knows all, which is the worst case.
    """
    stream = _Stream()
    reader = asyncio.create_task(stream.read(lines, decide))
    try:
        async for line in stream.due():
            yield line
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


class _Stream:
    def __init__(self) -> None:
        self._queue: asyncio.PriorityQueue[tuple[float, int, bytes | Cut | None]] = (
            asyncio.PriorityQueue()
        )
        self._order = itertools.count()
        self._last_due = 0.0
        self._held_until = 0.0
        self._news = asyncio.Event()

    async def read(self, lines: AsyncIterator[bytes], decide: Callable[[], Events | None]) -> None:
        """Take lines in until they end, and give each its time."""
        end: Cut | None = None
        try:
            async for line in lines:
                fault = None if line.startswith(_BOOKMARK) else decide()
                if fault is None:
                    self._put(line, self._now())
                elif fault.change in {"error", "cut"}:
                    if fault.change == "error":
                        self._put(ERROR_LINE, self._now())
                    else:
                        end = Cut()
                    return
                else:
                    self._change(line, fault)
        except (OSError, EOFError):
            end = Cut()
        finally:
            self._put(end, self._now())

    def _change(self, line: bytes, fault: Events) -> None:
        now = self._now()
        match fault.change:
            case "delay":
                self._put(line, now + fault.seconds)
            case "replay":
                self._put(line, now)
                self._later(line, now + fault.seconds)
            case "hold":
                if now >= self._held_until:
                    self._held_until = now + fault.seconds
                self._put(line, self._held_until)

    async def due(self) -> AsyncIterator[bytes]:
        """Yield each line at its time; ends when a line None is due, raises Cut for a Cut."""
        while True:
            at, order, line = await self._queue.get()
            wait = at - self._now()
            if wait > 0:
                self._queue.put_nowait((at, order, line))
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), wait)
                continue
            if line is None:
                return
            if isinstance(line, Cut):
                raise line
            yield line

    def _put(self, line: bytes | Cut | None, at: float) -> None:
        """Queue in order: nothing overtakes what came before."""
        self._last_due = max(at, self._last_due)
        self._later(line, self._last_due)

    def _later(self, line: bytes | Cut | None, at: float) -> None:
        self._queue.put_nowait((at, next(self._order), line))
        self._news.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
