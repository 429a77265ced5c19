"""Reading for an observation: a kind that is not installed is a finding, not a failure."""

from collections.abc import Mapping

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import KindMissing
from nexus_operator.cluster.passing import Passing
from nexus_operator.cluster.protocol import Cluster, Manifests, Ref


class Witness(Passing):
    """The Cluster protocol before another: of a kind that is missing there is nothing, so it reads.

    Writes are passed on; they raise KindMissing as ever.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Read from `cluster`."""
        super().__init__(cluster)
        self._missing: set[str] = set()

    @property
    def missing(self) -> frozenset[str]:
        """The kinds that were asked for and that the cluster does not have."""
        return frozenset(self._missing)

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it or its kind is not there."""
        try:
            return await super().get(ref)
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
            return await super().list(api_version, kind, namespace=namespace, labels=labels)
        except KindMissing:
            self._missing.add(kind)
            return []
