"""From an object that changed to the resources that may have to be reconciled."""

from collections.abc import Iterator
from typing import NamedTuple

from nexus_api.meta import API_VERSION, INDEX_LABEL, MODEL_LABEL, NAMESPACE_LABEL, Manifest
from nexus_operator.cluster.protocol import WatchEvent
from nexus_operator.objects import labels_of, ref_of
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.observe import DEPLOYMENT, SERVICE, WORKFLOW
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Settings


class Watched(NamedTuple):
    """A kind to watch, in one namespace or in all."""

    api_version: str
    kind: str
    namespace: str | None


def watched(settings: Settings) -> tuple[Watched, ...]:
    """Return what to watch: our kinds, and those of their children."""
    own = [Watched(API_VERSION, kind, None) for kind in KINDS]
    return (
        *own,
        Watched(*WORKFLOW, settings.platform_namespace),
        Watched(*DEPLOYMENT, None),
        Watched(*SERVICE, None),
    )


class Routes:
    """Knows which ServingModels name which RagIndex; learns it from the changes it is shown."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._index_of: dict[Key, str] = {}

    def keys(self, event: WatchEvent, watched_kind: str) -> Iterator[Key]:
        """Yield the resources that a change may concern."""
        ref = ref_of(event.object)
        if watched_kind not in KINDS:
            yield from _owners(event.object)
            return
        key = Key(watched_kind, ref.namespace, ref.name)
        yield key
        if watched_kind == "ServingModel":
            self._learn(key, event)
        if watched_kind == "RagIndex":
            for model, index in self._index_of.items():
                if (model.namespace, index) == (ref.namespace, ref.name):
                    yield model

    def _learn(self, key: Key, event: WatchEvent) -> None:
        knowledge = (event.object.get("spec") or {}).get("knowledge") or {}
        name = (knowledge.get("ragIndexRef") or {}).get("name")
        if name is None or event.type == "DELETED":
            self._index_of.pop(key, None)
        else:
            self._index_of[key] = str(name)


def _owners(child: Manifest) -> Iterator[Key]:
    """Yield the resources that a child names by its labels, and by its owner references.

    Somebody may have taken the labels away by hand: that, too, is to be repaired.
    """
    labels = labels_of(child)
    namespace = labels.get(NAMESPACE_LABEL)
    if namespace is not None:
        for label, kind in ((INDEX_LABEL, "RagIndex"), (MODEL_LABEL, "ServingModel")):
            if label in labels:
                yield Key(kind, namespace, labels[label])
    metadata = child.get("metadata") or {}
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("apiVersion") == API_VERSION and owner.get("kind") in KINDS:
            yield Key(owner["kind"], str(metadata.get("namespace", "")), str(owner["name"]))
