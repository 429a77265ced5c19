"""A cluster before another, for those who change a part of the protocol and pass on the rest."""

from collections.abc import AsyncGenerator, Mapping

from nexus_api.meta import Manifest
from nexus_operator.cluster.protocol import (
    FIELD_MANAGER,
    Cluster,
    Manifests,
    Ref,
    WatchEvent,
)


class Passing:
    """The Cluster protocol, each request handed on as it came."""

    def __init__(self, cluster: Cluster) -> None:
        """Stand before `cluster`."""
        self._cluster = cluster

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
        """Return the objects of one kind, in one namespace or in all, that carry all `labels`."""
        return await self._cluster.list(api_version, kind, namespace=namespace, labels=labels)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return await self._cluster.create(manifest)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply."""
        return await self._cluster.apply(manifest, manager=manager, force=force)

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or its subresource."""
        return await self._cluster.patch(ref, patch, subresource=subresource)

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        """Delete in the background."""
        await self._cluster.delete(ref, uid=uid)

    async def log(self, pod: Ref, *, container: str, lines: int) -> str:
        """Return the last lines that a container printed."""
        return await self._cluster.log(pod, container=container, lines=lines)

    async def ask(self, url: str) -> bytes:
        """Return what a pod answers at an address of its own."""
        return await self._cluster.ask(url)

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes for ever."""
        return self._cluster.watch(api_version, kind, namespace=namespace, since=since)
