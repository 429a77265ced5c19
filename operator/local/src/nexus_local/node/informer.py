"""The objects of one kind, kept up to date by a watch."""

from collections.abc import Callable

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import Gone
from nexus_operator.cluster.protocol import Cluster, Ref

Key = tuple[str, str]
"""Namespace and name."""


class Informer:
    """Holds the last seen version of every object of a kind and tells of each change."""

    def __init__(
        self,
        cluster: Cluster,
        api_version: str,
        kind: str,
        changed: Callable[[Key, Manifest | None], None],
    ) -> None:
        """Watch through `cluster`; `changed` gets the key and the object, None when it is gone."""
        self.objects: dict[Key, Manifest] = {}
        self._cluster = cluster
        self._api_version = api_version
        self._kind = kind
        self._changed = changed

    def ref(self, key: Key) -> Ref:
        """Return the reference of the object with that key."""
        return Ref(self._api_version, self._kind, *key)

    async def run(self) -> None:
        """Follow the kind until the cluster closes; lists again after falling behind."""
        while True:
            try:
                await self._follow()
            except Gone:
                continue
            return

    async def _follow(self) -> None:
        listing: set[Key] | None = set()
        async for event in self._cluster.watch(self._api_version, self._kind):
            if event.type == "BOOKMARK":
                for gone in set(self.objects) - (listing if listing is not None else set()):
                    if listing is not None:
                        del self.objects[gone]
                        self._changed(gone, None)
                listing = None
                continue
            metadata = event.object["metadata"]
            key = (metadata.get("namespace", ""), metadata["name"])
            if listing is not None:
                listing.add(key)
            if event.type == "DELETED":
                self.objects.pop(key, None)
                self._changed(key, None)
            else:
                self.objects[key] = event.object
                self._changed(key, event.object)
