"""Asks for a sync after uploads, deletions and notices of the bucket, once for many of them.

A notice is a hint, never truth: it sets an annotation, and the sync lists the bucket.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from nexus_api.meta import SYNC_REQUESTED
from nexus_api.notices import CLOCK_MARGIN
from nexus_gateway.control.client import (
    ControlClient,
    ControlConflict,
    ControlGone,
    ControlMissing,
    ControlUnavailable,
)
from nexus_gateway.control.routes import Key

LOG = logging.getLogger(__name__)
QUIET_SECONDS = 0.3
LONGEST_WAIT = 2.0
LONGEST_PAUSE = 10.0
GIVE_UP_SECONDS = 600.0
"""How long the API may be away before a request is left to the index's interval."""

STEP = timedelta(milliseconds=1)


def stamp(standing: str, changed: datetime, now: datetime) -> str:
    """Return what an index is asked by for a change, empty when what stands asks for it already.

    A request never gets earlier than the one that stands.  One that stands is of a later change, so
    the sync that it asks for sees this one, unless the clocks of two nodes differ: what came within
    their margin asks anew, a millisecond after what stands.
    """
    changed = min(changed, now)  # what is told of has happened, whatever the store's clock says
    stood = _moment(standing)
    if stood is None or changed > stood:
        return _text(changed)
    believable = stood - now <= CLOCK_MARGIN
    if believable and (changed == stood or stood - changed >= CLOCK_MARGIN):
        return ""
    try:
        return _text(stood + STEP)
    except OverflowError:
        return _text(changed)  # somebody wrote the last millisecond of the year 9999


class SyncRequests:
    """Coalesces requests by index: one annotation when it has been quiet, at the latest in 2 s.

    While the API is away they wait, one for each index.
    """

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._wanted: dict[Key, datetime] = {}
        self._told: dict[Key, float] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._stopping = False

    @property
    def waiting(self) -> int:
        """How many indexes are still to be asked."""
        return len(self._tasks)

    def ask(self, tenant: str, index: str, changed: datetime | None = None) -> None:
        """Ask that an index be synced soon for a change at that time, else now.  Returns at once.

        changed: with a time zone.
        """
        key = (tenant, index)
        changed = changed or datetime.now(UTC)
        self._wanted[key] = max(changed, self._wanted.get(key, changed))
        self._told[key] = asyncio.get_running_loop().time()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._serve(key))

    async def stop(self) -> None:
        """Send what is still waiting, then stop."""
        self._stopping = True
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LONGEST_WAIT)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, key: Key) -> None:
        try:
            while key in self._wanted:
                await self._quiet(key)
                await self._send(key)
        finally:
            self._wanted.pop(key, None)
            self._told.pop(key, None)
            del self._tasks[key]

    async def _quiet(self, key: Key) -> None:
        """Wait until nobody asked for a moment, so that one annotation stands for all."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not self._stopping and loop.time() - self._told[key] < QUIET_SECONDS:
            if loop.time() - begun > LONGEST_WAIT:
                break
            await asyncio.sleep(QUIET_SECONDS / 3)

    async def _send(self, key: Key) -> None:
        """Annotate the index for the latest change that it is asked for, until that has worked."""
        loop = asyncio.get_running_loop()
        begun, pause = loop.time(), 0.2
        changed = self._wanted.pop(key)
        while True:
            changed = max(changed, self._wanted.pop(key, changed))
            try:
                await self._annotate(key, changed)
            except ControlMissing:
                return  # deleted: nothing is to be synced
            except ControlConflict:
                pause = 0.05  # somebody else wrote to it meanwhile
            except (ControlUnavailable, ControlGone) as error:
                LOG.warning("asking for a sync of %s/%s: %s", *key, error)
            else:
                return
            if loop.time() - begun > GIVE_UP_SECONDS:
                LOG.error("asking for a sync of %s/%s: given up; its interval will do it", *key)
                return
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _annotate(self, key: Key, changed: datetime) -> None:
        metadata = (await self._client.get("ragindexes", *key))["metadata"]
        standing = (metadata.get("annotations") or {}).get(SYNC_REQUESTED, "")
        if asked := stamp(standing, changed, datetime.now(UTC)):
            # Of that version only: another gateway may have told of a later change just now.
            await self._client.annotate(
                "ragindexes", *key, {SYNC_REQUESTED: asked}, version=metadata["resourceVersion"]
            )


def _moment(text: str) -> datetime | None:
    """Return the time that an annotation states, None for what is none: anybody may write it."""
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
