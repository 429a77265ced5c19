"""The protocol that both clusters implement; contract suite: tests/contract/cluster."""

from collections.abc import AsyncGenerator, Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

from nexus_api.meta import Manifest

Manifests: TypeAlias = list[Manifest]


class Ref(NamedTuple):
    """Where an object lives; `namespace` is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """The object as a person names it: `Deployment default/assistant-1a2b3c`."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


class WatchEvent(NamedTuple):
    """One change; a BOOKMARK carries only `metadata.resourceVersion`."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Manifest


FIELD_MANAGER = "nexus-operator"
"""Whose the fields are that the operator applies."""


class Cluster(Protocol):
    """Kubernetes objects by reference; errors are those of `nexus_operator.cluster.errors`."""

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it is not there."""
        ...

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        """Return the objects of one kind, in one namespace or in all, that carry all `labels`."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises AlreadyExists or Invalid."""
        ...

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply: create or merge.

        Fields that `manager` applied before and no longer sends go away, unless others applied
        them too.  A status in the manifest is ignored.  Raises Invalid; Conflict when
        `metadata.resourceVersion` or `metadata.uid` is given and stale, and without `force` for
        fields to which others gave another value.
        """
        ...

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or of its subresource (`status`).

        Honours `metadata.resourceVersion` in the patch.  Raises NotFound, Conflict or Invalid.
        """
        ...

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        """Delete in the background; deleting what is not there is fine.

        With `uid`, an object of that name with another uid raises Conflict and stays.
        """
        ...

    async def log(self, pod: Ref, *, container: str, lines: int) -> str:
        """Return the last lines that a container printed, tens of kilobytes at most.

        One attempt within seconds.  Raises NotFound, Invalid for a container that does not run
        yet, Forbidden or Unavailable.
        """
        ...

    async def ask(self, url: str) -> bytes:
        """Return what a pod answers at an address of its own, tens of kilobytes at most.

        A GET without credentials, one attempt within seconds.  Raises Unavailable.
        """
        ...

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes for ever; raises Gone when `since` has been compacted.

        Without `since` it starts with ADDED for everything there.  Who leaves it early closes it
        (`contextlib.aclosing`): what is left to the collector keeps its connection until then.
        """
        ...
