"""The ledger's tables.  A change here needs a migration; a test compares the two."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine


class UtcTime(TypeDecorator[datetime]):
    """An aware time, stored as naive UTC, which every database can hold and compare."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class Text(TypeDecorator[str]):
    """Text of people, of which every database holds what it can: no NUL, no half surrogates."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        del dialect
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", "\ufffd").encode(errors="replace").decode()


class Path(Text):
    """Text that is ordered by its code points, as SQLite does, whatever the database's language."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Choose the column's type."""
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(collation=collation))


class Table(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {  # noqa: RUF012 - as SQLAlchemy reads it
        str: Text,
        datetime: UtcTime,
        dict[str, Any]: JSON,
        list[dict[str, Any]]: JSON,
    }


class VersionState(StrEnum):
    """How far a version is.  A version that nobody wants any more has no row, only garbage."""

    STAGED = "staged"  # some of its chunks may be written
    READY = "ready"  # all are written and counted
    LIVE = "live"  # may be cited


def _belongs_to(column: str) -> ForeignKey:
    # Checked at commit: rows are written in no promised order.
    return ForeignKey(column, ondelete="CASCADE", deferrable=True, initially="DEFERRED")


class IndexRow(Table):
    """One index of one tenant, with its counters."""

    __tablename__ = "indexes"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    uid: Mapped[str] = mapped_column(default="")  # of the resource; "" until the first sync
    tearing_down: Mapped[bool] = mapped_column(default=False)
    next_generation: Mapped[int] = mapped_column(default=1)
    # Counts what the API did (uploads, deletions), so that a listing knows what it cannot know.
    touches: Mapped[int] = mapped_column(default=0)
    listing: Mapped[int] = mapped_column(default=0)  # token of the newest listing
    revision: Mapped[int] = mapped_column(default=0)  # counts changes of what may be cited
    active_collection: Mapped[str | None]
    active_fingerprint: Mapped[str | None]
    wanted_collection: Mapped[str | None]  # differs from active while a new one is built
    wanted_fingerprint: Mapped[str | None]


class DocumentRow(Table):
    """One document.  ``live_generation`` is the only truth about what may be cited."""

    __tablename__ = "documents"
    __table_args__ = (Index("documents_by_path", "index_id", "path", unique=True),)

    document_id: Mapped[str] = mapped_column(Text(32), primary_key=True)
    index_id: Mapped[int] = mapped_column(_belongs_to("indexes.id"))
    path: Mapped[str] = mapped_column(Path)
    key: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    etag: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    modified: Mapped[float]
    touched: Mapped[int] = mapped_column(default=0)  # IndexRow.touches when the API last did
    pending_generation: Mapped[int | None]
    live_generation: Mapped[int | None]
    again: Mapped[bool] = mapped_column(default=False)  # ingest though nothing seems to ask for it
    failed_etag: Mapped[str | None]
    failed_attempt: Mapped[str | None]
    reason: Mapped[str] = mapped_column(default="")
    message: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    pages: Mapped[int] = mapped_column(default=0)
    chunks: Mapped[int] = mapped_column(default=0)
    # The object that the API was asked to delete, until it is known to be gone.
    tombstone_etag: Mapped[str | None]
    tombstone_modified: Mapped[float | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    indexed_at: Mapped[datetime | None]


class VersionRow(Table):
    """A version of a document that is being built or is live."""

    __tablename__ = "versions"
    __table_args__ = (Index("versions_by_collection", "index_id", "collection", "state"),)

    document_id: Mapped[str] = mapped_column(_belongs_to("documents.document_id"), primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    index_id: Mapped[int] = mapped_column(_belongs_to("indexes.id"))
    collection: Mapped[str]
    attempt: Mapped[str]  # fingerprint and limits: a failure is final for these
    etag: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default=VersionState.STAGED)
    chunks: Mapped[int] = mapped_column(default=0)
    pages: Mapped[int] = mapped_column(default=0)
    title: Mapped[str] = mapped_column(default="")


class GarbageRow(Table):
    """Chunks to delete: of one version, or a whole collection.

    The same version may be queued twice: a late writer queues it again, and the entry that is
    being worked on must not swallow that.
    """

    __tablename__ = "garbage"
    __table_args__ = (
        Index("garbage_by_document", "index_id", "document_id"),
        {"sqlite_autoincrement": True},  # an id that was reported done is never used again
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    index_id: Mapped[int] = mapped_column(_belongs_to("indexes.id"))
    collection: Mapped[str]
    document_id: Mapped[str | None] = mapped_column(Text(32))
    generation: Mapped[int | None]


class ResponseRow(Table):
    """An answer that was given."""

    __tablename__ = "responses"
    __table_args__ = (Index("responses_by_tenant", "tenant", "created_at"),)

    response_id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    model: Mapped[str]
    index: Mapped[str]
    question: Mapped[str]
    answer: Mapped[str]
    passages: Mapped[list[dict[str, Any]]]
    created_at: Mapped[datetime]
    # With defaults in the database: the release before writes rows without them.
    revision: Mapped[str] = mapped_column(default="", server_default="")
    adapter_version: Mapped[str] = mapped_column(default="", server_default="")


class FeedbackRow(Table):
    """What a person said about an answer."""

    __tablename__ = "feedback"
    __table_args__ = (Index("feedback_by_tenant", "tenant", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    response_id: Mapped[str] = mapped_column(index=True)
    tenant: Mapped[str]
    rating: Mapped[int | None]
    corrected_answer: Mapped[str]
    comment: Mapped[str]
    created_at: Mapped[datetime]
