"""Reading for an observation: a kind that is not installed is a finding, not a failure."""

from collections.abc import AsyncIterator, Mapping

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import KindMissing
from nexus_operator.cluster.protocol import Cluster, Manifests, Ref, WatchEvent


class Witness:
    """The Cluster protocol before another: of a kind that is missing there is nothing, so it reads.

    Writes are passed on; they raise KindMissing as ever.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Read from `cluster`."""
        self._cluster = cluster
        self._missing: set[str] = set()

    @property
    def missing(self) -> frozenset[str]:
        """The kinds that were asked for and that the cluster does not have."""
        return frozenset(self._missing)

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it or its kind is not there."""
        try:
            return await self._cluster.get(ref)
        except KindMissing:
            self._missing.add(ref.kind)
            return None

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        """Return the objects of one kind that carry all `labels`, none of a missing kind."""
        try:
            return await self._cluster.list(api_version, kind, namespace=namespace, labels=labels)
        except KindMissing:
            self._missing.add(kind)
            return []

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return await self._cluster.create(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply."""
        return await self._cluster.apply(manifest)

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or its subresource."""
        return await self._cluster.patch(ref, patch, subresource=subresource)

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        """Delete in the background."""
        await self._cluster.delete(ref, uid=uid)

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
