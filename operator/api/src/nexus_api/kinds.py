"""The kinds of the group and how Kubernetes lists them."""

from dataclasses import dataclass
from typing import Literal

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import API_VERSION, Resource
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel

ColumnType = Literal["string", "integer", "date"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; those with a priority show with `-o wide` only."""

    name: str
    path: str
    type: ColumnType = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource finds its numbers."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ".status.selector"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its type, its names and its columns."""

    model: type[Resource]
    plural: str
    short: str
    columns: tuple[Column, ...]
    scale: Scale | None = None

    @property
    def name(self) -> str:
        """The kind as it stands in manifests."""
        return self.model.__name__


def _condition(kind: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


_READY = Column("Ready", _condition("Ready", "status"))
_REASON = Column("Reason", _condition("Ready", "reason"))
_AGE = Column("Age", ".metadata.creationTimestamp", "date")

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            model=RagIndex,
            plural="ragindexes",
            short="ri",
            columns=(
                _READY,
                _REASON,
                Column("Documents", ".status.documents.total", "integer"),
                Column("Indexed", ".status.documents.indexed", "integer"),
                Column("Failed", ".status.documents.failed", "integer"),
                Column("Chunks", ".status.chunks", "integer"),
                Column("Synced", ".status.lastSyncTime", "date"),
                Column("Mode", ".spec.retrieval.mode", priority=1),
                Column("Embedding", ".spec.embedding.uri", priority=1),
                Column("Collection", ".status.activeCollection", priority=1),
                _AGE,
            ),
        ),
        Kind(
            model=ServingModel,
            plural="servingmodels",
            short="sm",
            columns=(
                _READY,
                _REASON,
                Column("Replicas", ".status.replicas", "integer"),
                Column("Available", ".status.readyReplicas", "integer"),
                Column("Index", ".spec.knowledge.ragIndexRef.name"),
                Column("Model", ".spec.model.uri", priority=1),
                Column("Revision", ".status.liveRevision", priority=1),
                Column("URL", ".status.url", priority=1),
                _AGE,
            ),
            scale=Scale(),
        ),
        Kind(
            model=FineTuneJob,
            plural="finetunejobs",
            short="ftj",
            columns=(
                _READY,
                _REASON,
                Column("Run", ".status.lastRun.phase"),
                Column("Step", ".status.lastRun.step"),
                Column("Done%", ".status.lastRun.progressPercent", "integer"),
                Column("Loss", ".status.lastRun.loss"),
                Column("Decision", ".status.lastDecision.verdict"),
                Column("Version", ".status.registeredVersion", priority=1),
                Column("Champion", ".status.champion.version", priority=1),
                Column("Ends", ".status.lastRun.expectedEnd", priority=1),
                Column("Base", ".spec.baseModel.uri", priority=1),
                _AGE,
            ),
        ),
    )
}
"""Our kinds by name."""


class UnknownKind(ValueError):
    """A manifest is of no kind that this release knows."""


def kind_of(api_version: object, kind: object) -> Kind:
    """Return the kind of a manifest; raises UnknownKind, which names the kinds that are known."""
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None or api_version != API_VERSION:
        raise UnknownKind(
            f'no matches for kind "{kind}" in version "{api_version}"; '
            f"known in {API_VERSION}: {', '.join(KINDS)}"
        )
    return found
