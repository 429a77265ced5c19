"""Connections, transactions and migrations of the ledger's database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from nexus_knowledge.errors import LedgerOutdated, LedgerUnavailable
from nexus_knowledge.ledger.tables import IndexRow

_BUSY_MS = 30_000
_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6E657875  # any number that is ours alone


def connect(url: str) -> Engine:
    """Open the database at ``url``: ``sqlite:////absolute/ledger.db`` or PostgreSQL."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        for pragma in (
            f"busy_timeout={_BUSY_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",  # a deletion that was acknowledged survives a power cut
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: one that starts as a reader could not wait for it.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def upgrade(url: str) -> None:
    """Bring the ledger's tables to this release; several at once, from any process, are fine."""
    from alembic import command
    from alembic.config import Config

    engine = connect(url)
    try:
        writing = engine.execution_options(writes=True)
        with _errors(), writing.begin() as connection:
            if engine.dialect.name == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": _ADVISORY_LOCK})
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


class Database:
    """What all parts of the ledger share: one engine, a clock, and transactions."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None) -> None:
        """Open the ledger; ``upgrade`` must have run.  Safe to share by threads."""
        self._engine = connect(url)
        self._writing = self._engine.execution_options(writes=True)
        self._clock = clock or (lambda: datetime.now(UTC))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Use as a context that closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with _errors(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with _errors(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def _index(self, session: Session, tenant: str, index: str) -> IndexRow | None:
        """Return the row of an index, locked when the transaction writes."""
        query = select(IndexRow).where(IndexRow.tenant == tenant, IndexRow.name == index)
        if session.get_bind() is self._writing:
            query = query.with_for_update()  # PostgreSQL; SQLite has one writer anyway
        return session.scalar(query)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except (OperationalError, InterfaceError, ProgrammingError) as error:
        reason = str(error.orig)
        if "no such table" in reason or "no such column" in reason or "does not exist" in reason:
            raise LedgerOutdated(
                f"the ledger's tables are not those of this release ({reason}): migrate it first"
            ) from error
        raise LedgerUnavailable(f"the ledger does not answer: {reason}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise LedgerUnavailable(f"the ledger's connection broke: {error.orig}") from error
        raise
