"""Ending tasks for certain: a cancellation can be lost.

A connection that breaks while the request on it is cancelled raises its own error instead, and who
tries again after an error waits on as if nobody had cancelled.
"""

import asyncio
from collections.abc import Collection
from typing import Any

CANCEL_AGAIN_SECONDS = 1.0


async def end(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks, again and again, until all have ended; their errors are not looked at."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
