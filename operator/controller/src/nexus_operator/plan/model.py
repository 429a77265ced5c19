"""What every plan takes and gives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from nexus_api.adapter_loading import LoadedAdapters
from nexus_api.meta import Manifest
from nexus_api.training_progress import TrainingProgress
from nexus_operator.cluster.protocol import Ref
from nexus_operator.objects import is_deleting, name_of, ref_of, uid_of
from nexus_operator.status.conditions import Transition


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was observed for one resource: its children, and the objects that its spec names."""

    children: tuple[Manifest, ...] = ()
    references: tuple[Manifest, ...] = ()
    missing: frozenset[str] = frozenset()
    """Kinds that were asked for and that the cluster does not have: what offers them is not
    installed."""
    withheld: frozenset[str] = frozenset()
    """Kinds that may not be looked at here, and without which a resource does its work."""
    training: Mapping[str, TrainingProgress] = field(default_factory=dict)
    """How far a training is by its own word, by the name of its Workflow."""
    loaded: Mapping[str, LoadedAdapters] = field(default_factory=dict)
    """Which adapters pods have by their own word, by the names of the pods that told."""

    def of_kind(self, kind: str) -> tuple[Manifest, ...]:
        """Return the children of one kind."""
        return tuple(child for child in self.children if child["kind"] == kind)

    def child(self, kind: str, name: str) -> Manifest | None:
        """Return one child, or None."""
        return next((one for one in self.of_kind(kind) if name_of(one) == name), None)

    def reference(self, kind: str, name: str) -> Manifest | None:
        """Return one object that the spec names, or None when it is not there."""
        return next(
            (one for one in self.references if one["kind"] == kind and name_of(one) == name), None
        )


class Note(NamedTuple):
    """An annotation of another resource, by which it is asked for something."""

    ref: Ref
    annotation: str
    value: str


class Doomed(NamedTuple):
    """An object to delete: that very object, not another of the same name."""

    ref: Ref
    uid: str


def doomed(objects: Iterable[Manifest]) -> tuple[Doomed, ...]:
    """Name the objects that are to go, without those that are going already."""
    return tuple(Doomed(ref_of(one), uid_of(one)) for one in objects if not is_deleting(one))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do for one resource.

    It is carried out in this order: finalizer, notes, status, annotations, create, apply, delete,
    release; on a new resource, which gets its finalizer, create goes before notes and status.  What
    of the resource itself goes first is written under the resource version that was read, so that
    of two controllers with an old view only one goes on to start a run; a note says the same each
    time.  In `status`, None clears a field and a field that is left out stays.
    """

    status: Manifest
    create: tuple[Manifest, ...] = ()
    """Objects that are made once and never changed; their names follow from what they do."""
    apply: tuple[Manifest, ...] = ()
    """Objects that must be exactly so."""
    delete: tuple[Doomed, ...] = ()
    annotate: Mapping[str, str] = field(default_factory=dict)
    """Annotations of the resource itself that are to be written; what is so already is left out."""
    notes: tuple[Note, ...] = ()
    """What other resources are asked for; the status then remembers that they were."""
    add_finalizer: bool = False
    remove_finalizer: bool = False
    events: Sequence[Transition] = field(default=())
    withheld: str = ""
    """What the cluster did not let the operator see, as a sentence: no other part is decided."""
    requeue_after: timedelta | None = None
    """When to look again although nothing was heard."""
