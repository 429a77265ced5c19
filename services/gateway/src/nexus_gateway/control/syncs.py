"""Asks for a sync after uploads and deletions, once for many of them.

An upload notice is a hint, never truth: it sets an annotation, and the sync lists the bucket.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from nexus_api.meta import SYNC_REQUESTED
from nexus_gateway.control.client import ControlClient, ControlGone, ControlUnavailable
from nexus_gateway.control.routes import Key

LOG = logging.getLogger(__name__)
QUIET_SECONDS = 0.3
LONGEST_WAIT = 2.0
ATTEMPTS = 4


class SyncRequests:
    """Coalesces requests by index: one annotation when it has been quiet, at the latest in 2 s."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._wanted: dict[Key, float] = {}
        self._waiting: set[Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, tenant: str, index: str) -> None:
        """Ask that an index be synced soon.  Returns at once."""
        key = (tenant, index)
        self._wanted[key] = asyncio.get_running_loop().time()
        if key not in self._waiting:
            self._waiting.add(key)
            task = asyncio.create_task(self._send_when_quiet(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send what is still waiting, then stop."""
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LONGEST_WAIT)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_when_quiet(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() - self._wanted[key] < QUIET_SECONDS:
            if loop.time() - begun > LONGEST_WAIT:
                break
            await asyncio.sleep(QUIET_SECONDS / 3)
        self._waiting.discard(key)  # what is asked from here on needs another annotation
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        for attempt in range(ATTEMPTS):
            try:
                await self._client.annotate("ragindexes", *key, {SYNC_REQUESTED: stamp})
            except (ControlUnavailable, ControlGone) as error:
                LOG.warning("asking for a sync of %s/%s: %s", *key, error)
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                return
