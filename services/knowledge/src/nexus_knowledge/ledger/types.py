"""What goes into and comes out of the ledger."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class DocumentState(StrEnum):
    """What a user sees of a document; what may be cited is ``Document.live_generation``."""

    PENDING = "pending"
    INDEXED = "indexed"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a bucket listing, with the document path it stands for."""

    path: str  # below the index's prefix
    key: str  # in the bucket
    etag: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One version of a document that has to be ingested."""

    document_id: str
    path: str
    key: str
    etag: str
    size: int
    generation: int


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync has to do."""

    collection: str  # where the chunks go; the caller ensures that it exists
    work: list[WorkItem]
    delete_keys: list[str]  # objects whose deletion by the API was cut short: delete them
    unchanged: int
    removed: int  # documents that are no longer in the bucket
    known_failures: int  # failed before in the same way, not tried again


@dataclass(frozen=True, slots=True)
class Ready:
    """All chunks of a version are written and counted."""

    document_id: str
    generation: int
    chunks: int
    pages: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A version cannot be ingested, and trying again will not help."""

    document_id: str
    generation: int
    reason: str  # one CamelCase word
    message: str  # a sentence for people


class Settled(StrEnum):
    """What became of a reported version."""

    ACCEPTED = "accepted"
    SUPERSEDED = "superseded"  # the document moved on; what was written is collected later


@dataclass(frozen=True, slots=True)
class Counts:
    """Documents by state (``total`` leaves out those being deleted) and live chunks."""

    total: int = 0
    indexed: int = 0
    failed: int = 0
    pending: int = 0
    deleting: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did."""

    superseded: bool  # a later plan wants another collection; nothing was done
    waiting: int  # documents that still keep a new collection from going live
    flipped: int  # versions that went live
    switched: bool  # the active collection changed
    collection: str | None  # active now
    fingerprint: str | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class Garbage:
    """Chunks nobody will ask for: one version of a document, or a whole collection."""

    id: int
    collection: str
    document_id: str | None
    generation: int | None


@dataclass(frozen=True, slots=True)
class View:
    """Where searches go now.  ``revision`` changes whenever what may be cited changes."""

    collection: str
    fingerprint: str
    revision: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document as users see it."""

    document_id: str
    path: str
    key: str
    state: DocumentState
    etag: str
    size: int
    live_generation: int | None
    reason: str
    message: str
    title: str
    pages: int
    chunks: int
    created_at: datetime
    updated_at: datetime
    indexed_at: datetime | None


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page of documents in the order of their paths; ``next`` continues it, None at the end."""

    documents: list[Document]
    next: str | None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer that was given, kept for feedback and evaluation."""

    response_id: str
    tenant: str
    model: str
    question: str
    answer: str
    index: str = ""
    passages: list[dict[str, Any]] = field(default_factory=list)
    created_at: datetime | None = None  # None: now
    revision: str = ""
    """Revision of the ServingModel; empty where it is not known, or no model was asked."""
    adapter_version: str = ""
    """Version of the adapter: its number in the registry, or else its digest."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person said about an answer."""

    response_id: str
    tenant: str
    rating: int | None = None
    corrected_answer: str = ""
    comment: str = ""
    created_at: datetime | None = None  # None: now


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The answer that feedback speaks of: who gave it, and whether this is its first rating."""

    model: str
    first_rating: bool


@dataclass(frozen=True, slots=True)
class RatedResponse:
    """An answer with what people said about it, newest first; at least one thing was said."""

    response: Response
    feedback: list[Feedback]
