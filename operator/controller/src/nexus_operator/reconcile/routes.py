"""From an object that changed to the resources that may have to be reconciled."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from nexus_api.meta import (
    API_VERSION,
    INDEX_LABEL,
    JOB_LABEL,
    MANAGED_BY,
    MODEL_LABEL,
    NAMESPACE_LABEL,
    Manifest,
)
from nexus_operator.build.events import EVENT_SOURCE, SENSOR
from nexus_operator.build.guards import GUARDS
from nexus_operator.build.monitoring import POD_MONITOR
from nexus_operator.cluster.protocol import WatchEvent
from nexus_operator.objects import is_deleting, labels_of, ref_of
from nexus_operator.plan.adapters import named_jobs
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.observe import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    SERVICE,
    WORKFLOW,
)
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Settings

PLATFORM = Key("Platform", "", "")
"""What all indexes share; not an object, but reconciled like one."""

CHILD_SELECTOR = f"app.kubernetes.io/managed-by={MANAGED_BY}"
"""Selects the objects that the operator makes, and the pods of its Deployments."""

_OWNER_LABELS = {
    INDEX_LABEL: "RagIndex",
    MODEL_LABEL: "ServingModel",
    JOB_LABEL: "FineTuneJob",
}
"""Labels of children, and the kind that each names."""

_LISTENER = frozenset({EVENT_SOURCE[1], SENSOR[1]})


class Watched(NamedTuple):
    """A kind to watch, in one namespace or in all."""

    api_version: str
    kind: str
    namespace: str | None


def children(settings: Settings) -> tuple[Watched, ...]:
    """Return the kinds of children to watch, and where."""
    found = [Watched(*WORKFLOW, settings.platform_namespace)]
    looked_after: tuple[str | None, ...] = settings.watch_namespaces or (None,)
    kinds = [DEPLOYMENT, SERVICE]
    if settings.events.source != "none" or settings.events.alerts:
        found += [Watched(*kind, settings.platform_namespace) for kind in (EVENT_SOURCE, SENSOR)]
    if settings.on_kubernetes:
        kinds += [POD, CLAIM, *((api_version, kind) for kind, api_version in GUARDS.items())]
        if "vllm" in settings.engines:  # elsewhere there is no right to them, nor any of ours
            kinds.append(CONFIG_MAP)
    if settings.scrape is not None:
        kinds.append(POD_MONITOR)
    found += [Watched(*kind, namespace) for kind in kinds for namespace in looked_after]
    return tuple(found)


def watched(settings: Settings, own: Iterable[str] = KINDS) -> tuple[Watched, ...]:
    """Return what to watch: kinds of our `own`, by default all, and those of their children."""
    looked_after: tuple[str | None, ...] = settings.watch_namespaces or (None,)
    ours = [Watched(API_VERSION, kind, namespace) for kind in own for namespace in looked_after]
    return (*ours, *children(settings))


class Routes:
    """Knows what ServingModels name, indexes and jobs, and which indexes are told of uploads.

    It learns all of it from the changes that it is shown.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._named: dict[Key, frozenset[Key]] = {}
        self._told: dict[Key, str] = {}
        self._placed: set[Key] = set()
        self._alerts_of: dict[Key, list[Any]] = {}

    def keys(self, event: WatchEvent, watched_kind: str) -> Iterator[Key]:
        """Yield the resources that a change may concern."""
        ref = ref_of(event.object)
        if watched_kind in _LISTENER:
            yield PLATFORM
            return
        if watched_kind not in KINDS:
            yield from _owners(event.object)
            return
        key = Key(watched_kind, ref.namespace, ref.name)
        yield key
        if watched_kind == "ServingModel":
            self._learn(key, event)
        else:
            yield from [model for model, named in self._named.items() if key in named]
        if watched_kind == "FineTuneJob" and self._alerts_change(key, event):
            yield PLATFORM
        if watched_kind == "RagIndex" and self._listener_changes(key, event):
            yield PLATFORM

    def _learn(self, key: Key, event: WatchEvent) -> None:
        """Take note of the index and the jobs that a ServingModel names."""
        spec = {} if event.type == "DELETED" else event.object.get("spec") or {}
        index = ((spec.get("knowledge") or {}).get("ragIndexRef") or {}).get("name")
        named = {Key("FineTuneJob", key.namespace, job) for job in named_jobs(spec, key.namespace)}
        if index is not None:
            named.add(Key("RagIndex", key.namespace, str(index)))
        self._named.pop(key, None)
        if named:
            self._named[key] = frozenset(named)

    def _alerts_change(self, key: Key, event: WatchEvent) -> bool:
        """Tell whether the alerts that may start a job are others than before."""
        triggers = (event.object.get("spec") or {}).get("triggers") or {}
        before = self._alerts_of.pop(key, [])
        alerts: list[Any] = triggers.get("alerts") or []
        if event.type == "DELETED" or is_deleting(event.object):
            alerts = []
        if alerts:
            self._alerts_of[key] = alerts
        return before != alerts

    def _listener_changes(self, key: Key, event: WatchEvent) -> bool:
        """Tell whether what all indexes share may have to change with this one.

        It does with the first and the last index, with where an index has its documents when that
        is not the usual place, and with any index that may have the same documents.
        """
        source = (event.object.get("spec") or {}).get("source") or {}
        before, there = self._told.get(key), bool(self._told)
        if event.type == "DELETED" or is_deleting(event.object) or source.get("bucket"):
            self._told.pop(key, None)
        else:
            self._told[key] = str(source.get("prefix") or "")
        after = self._told.get(key)
        (self._placed.add if after else self._placed.discard)(key)
        if (before is None) != (after is None) and self._placed:
            return True
        return there != bool(self._told) or (before or "") != (after or "")


def _owners(child: Manifest) -> Iterator[Key]:
    """Yield the resources that a child names by its labels, and by its owner references.

    Somebody may have taken the labels away by hand: that, too, is to be repaired.
    """
    labels = labels_of(child)
    namespace = labels.get(NAMESPACE_LABEL)
    if namespace is not None:
        for label, kind in _OWNER_LABELS.items():
            if label in labels:
                yield Key(kind, namespace, labels[label])
    metadata = child.get("metadata") or {}
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("apiVersion") == API_VERSION and owner.get("kind") in KINDS:
            yield Key(owner["kind"], str(metadata.get("namespace", "")), str(owner["name"]))
