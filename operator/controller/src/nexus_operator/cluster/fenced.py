"""A cluster that is written to only while a claim to do so holds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import Unavailable
from nexus_operator.cluster.passing import Passing
from nexus_operator.cluster.protocol import FIELD_MANAGER, Cluster, Ref

T = TypeVar("T")

LATE = 5.0
"""Seconds left at which a renewal is late: no write begins until it has come.

What is asked of a slow API server makes it slower, and the renewal with it.
"""

_LOOK_SECONDS = 0.1


class Claim(Protocol):
    """The right to write, which runs out."""

    @property
    def remaining(self) -> float:
        """Seconds for which writing is allowed, 0 or less when it is not."""
        ...


class Fenced(Passing):
    """The Cluster protocol before another; writes end when the claim does, reads always pass.

    A write raises Unavailable without a claim, and when the claim runs out under it.  While a
    renewal is late, writes wait for it.
    """

    def __init__(self, cluster: Cluster, claim: Claim) -> None:
        """Guard the writes of `cluster`."""
        super().__init__(cluster)
        self._claim = claim

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return await self._within(lambda: self._cluster.create(manifest))

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply."""
        return await self._within(
            lambda: self._cluster.apply(manifest, manager=manager, force=force)
        )

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or its subresource."""
        return await self._within(lambda: self._cluster.patch(ref, patch, subresource=subresource))

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        """Delete in the background."""
        await self._within(lambda: self._cluster.delete(ref, uid=uid))

    async def _within(self, write: Callable[[], Awaitable[T]]) -> T:
        left = await self._renewed()
        if left <= 0:
            raise Unavailable("another operator may hold the Lease: nothing is written")
        try:
            async with asyncio.timeout(left):
                return await write()
        except TimeoutError as error:
            raise Unavailable("the Lease ran out under a write") from error

    async def _renewed(self) -> float:
        """Wait for a renewal that is late, while the claim lasts; return the seconds left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._claim.remaining
        left = self._claim.remaining
        while 0 < left < LATE and loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
            left = self._claim.remaining
        return left
