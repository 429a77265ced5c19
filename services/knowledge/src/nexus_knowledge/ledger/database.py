"""Transactions and migrations of the ledger's database."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from nexus_knowledge.ledger.engine import connect
from nexus_knowledge.ledger.failures import errors
from nexus_knowledge.ledger.tables import IndexRow

_MIGRATIONS = Path(__file__).parent / "migrations"
_log = logging.getLogger(__name__)
_ADVISORY_LOCK = 0x6E657875  # any number that is ours alone


def upgrade(url: str) -> None:
    """Bring the ledger's tables to this release; several at once, from any process, are fine.

    Tables of a newer release are left as they are, see ``nexus_knowledge.ledger.migrations``.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    engine = connect(url)
    try:
        writing = engine.execution_options(writes=True)
        with errors(), writing.begin() as connection:
            if engine.dialect.name == "postgresql":
                _take_turns(connection)
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            ours = ScriptDirectory.from_config(config).get_current_head() or ""
            theirs = MigrationContext.configure(connection).get_current_revision() or ""
            if theirs > ours:  # numbers of one width
                _log.warning("the ledger is of a newer release (%s after %s)", theirs, ours)
                return
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _take_turns(connection: Connection) -> None:
    """Wait for other migrations; then for tables only so long that their users hardly notice."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = '10min'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))


class Database:
    """What all parts of the ledger share: one engine, a clock, and transactions."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None) -> None:
        """Open the ledger; ``upgrade`` must have run.  Safe to share by threads."""
        self._engine = connect(url)
        self._writing = self._engine.execution_options(writes=True)
        self._reading = self._engine
        if self._engine.dialect.name == "postgresql":
            # One snapshot for all that a read asks; SQLite has no other way.  Writers see what
            # others committed while they waited for the index's row.
            self._reading = self._engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
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
        with errors(), Session(self._reading) as session, session.begin():
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with errors(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def _index(self, session: Session, tenant: str, index: str) -> IndexRow | None:
        """Return the row of an index, locked when the transaction writes."""
        query = select(IndexRow).where(IndexRow.tenant == tenant, IndexRow.name == index)
        if session.get_bind() is self._writing:
            query = query.with_for_update()  # PostgreSQL; SQLite has one writer anyway
        return session.scalar(query)
