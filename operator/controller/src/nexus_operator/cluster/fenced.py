"""A cluster that is written to only while a claim to do so holds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import Unavailable
from nexus_operator.cluster.protocol import Cluster, Manifests, Ref, WatchEvent

T = TypeVar("T")


class Claim(Protocol):
    """The right to write, which runs out."""

    @property
    def remaining(self) -> float:
        """Seconds for which writing is allowed, 0 or less when it is not."""
        ...


class Fenced:
    """The Cluster protocol before another; writes end when the claim does, reads always pass.

    A write raises Unavailable without a claim, and when the claim runs out under it.
    """

    def __init__(self, cluster: Cluster, claim: Claim) -> None:
        """Guard the writes of `cluster`."""
        self._cluster = cluster
        self._claim = claim

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it is not there."""
        return await self._cluster.get(ref)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        """Return the objects of one kind that carry all `labels`."""
        return await self._cluster.list(api_version, kind, namespace=namespace, labels=labels)

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """Yield changes for ever."""
        return self._cluster.watch(api_version, kind, namespace=namespace, since=since)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return await self._within(lambda: self._cluster.create(manifest))

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply."""
        return await self._within(lambda: self._cluster.apply(manifest))

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or its subresource."""
        return await self._within(lambda: self._cluster.patch(ref, patch, subresource=subresource))

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        """Delete in the background."""
        await self._within(lambda: self._cluster.delete(ref, uid=uid))

    async def _within(self, write: Callable[[], Awaitable[T]]) -> T:
        left = self._claim.remaining
        if left <= 0:
            raise Unavailable("another operator may hold the Lease: nothing is written")
        try:
            async with asyncio.timeout(left):
                return await write()
        except TimeoutError as error:
            raise Unavailable("the Lease ran out under a write") from error
