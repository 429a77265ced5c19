"""An event loop whose clock runs fast, so that a minute of back-off takes six seconds."""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

SPEED = 10.0
"""Seconds of the loop's clock in one real second."""

_HANDSHAKE_SECONDS = 60.0

T = TypeVar("T")


class _QuickSelector(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / self._speed if timeout else timeout)


class QuickLoop(asyncio.SelectorEventLoop):
    """A selector loop where `time`, timers and timeouts all run `speed` times as fast."""

    def __init__(self, speed: float = SPEED) -> None:
        """Start its clock at the present of the monotonic one."""
        self._speed = speed
        self._began = time.monotonic()
        super().__init__(_QuickSelector(speed))

    @property
    def speed(self) -> float:
        """Seconds of this loop's clock in one real second."""
        return self._speed

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Connect; a TLS handshake, whose other side's clock is not quick, has a real minute."""
        if options.get("ssl"):
            options.setdefault("ssl_handshake_timeout", _HANDSHAKE_SECONDS * self._speed)
        return await super().create_connection(*args, **options)

    def time(self) -> float:
        """Return the loop's own time in seconds."""
        return self._began + (time.monotonic() - self._began) * self._speed


def real_seconds(seconds: float) -> float:
    """Return so many real seconds in those of the running loop's clock."""
    loop = asyncio.get_running_loop()
    return seconds * (loop.speed if isinstance(loop, QuickLoop) else 1.0)


def run_quickly(work: Coroutine[Any, Any, T], *, speed: float = SPEED) -> T:
    """Run a coroutine to its end on a quick loop."""
    with asyncio.Runner(loop_factory=lambda: QuickLoop(speed)) as runner:
        return runner.run(work)
