"""The engine of the ledger's database, as SQLite and PostgreSQL each need it."""

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError

from nexus_knowledge.errors import UnsupportedUrl

_BUSY_MS = 30_000
_AGAIN_SECONDS = 0.01
_POSTGRESQL = "postgresql+psycopg"
_READ_ONLY = "25006"  # what a server says that another has taken over from


def connect(url: str) -> Engine:
    """Open the database at ``url``; nothing is asked of it yet.

    ``sqlite:////absolute/ledger.db`` or ``postgresql+psycopg://user:password@host/database``,
    whose query takes the parameters of libpq, for instance ``sslmode=verify-full``.
    Raises ``UnsupportedUrl``, which never shows the URL: it holds a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = URL.create("none")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _sqlite(parsed)
    if parsed.drivername in {"postgres", "postgresql", _POSTGRESQL}:
        return _postgresql(parsed.set(drivername=_POSTGRESQL))
    raise UnsupportedUrl(
        "the ledger's URL is not offered; write sqlite:////absolute/ledger.db or "
        f"{_POSTGRESQL}://user:password@host/database"
    )


def _postgresql(url: URL) -> Engine:
    settings = {
        "application_name": "llmops-nexus",
        "connect_timeout": 5,
        # A server that went without a word is noticed in about a minute.
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 4,
        "tcp_user_timeout": 60_000,
        "options": "-c lock_timeout=30s -c statement_timeout=120s"
        " -c idle_in_transaction_session_timeout=300s",
    }
    ours = {name: value for name, value in settings.items() if name not in url.query}
    engine = create_engine(
        url,
        # A pooler in between may give each transaction another server connection.
        connect_args={**ours, "prepare_threshold": None},
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=10,
        pool_timeout=10,
        pool_recycle=1800,
    )

    @event.listens_for(engine, "handle_error")
    def _leave_a_former_primary(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
            context.is_disconnect = True

    return engine


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        _keep_a_log(connection)
        # FULL: a deletion that was acknowledged survives a power cut.
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: one that starts as a reader could not wait for it.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, which the file then keeps.

    Beside a writer SQLite refuses the switch at once, whatever the busy timeout: two that open a
    new file would both hold what the other waits for.  So it is asked again.
    Source: sqlite.org/c3ref/busy_handler.html
    """
    end = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return
