"""What a database's errors mean to us, and transactions that are run again."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nexus_knowledge.errors import LedgerConflict, LedgerOutdated, LedgerUnavailable

_OUTDATED = frozenset({"42P01", "42703"})  # no such table, no such column
# Serialization failure, deadlock, and two that made the same row at the same time.
_CONFLICTS = frozenset({"40001", "40P01", "23505"})
_TRIES = 5
_PAUSE = 0.02  # seconds before the second try; doubles, and is jittered

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def errors() -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except PoolTimeout as error:
        raise LedgerUnavailable("every connection to the ledger is busy") from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        reason = " ".join(str(error.orig).split())  # libpq writes several lines
        if state in _OUTDATED or "no such table" in reason or "no such column" in reason:
            raise LedgerOutdated(
                f"the ledger's tables are not those of this release ({reason}): migrate it first"
            ) from error
        if state in _CONFLICTS:
            raise LedgerConflict(f"another transaction was in the way: {reason}") from error
        passing = (OperationalError, InterfaceError, InternalError, ProgrammingError)
        if error.connection_invalidated or isinstance(error, passing):
            raise LedgerUnavailable(f"the ledger does not answer: {reason}") from error
        raise


def transaction(method: Callable[P, R]) -> Callable[P, R]:
    """Run a method, which is one transaction, again when another was in its way."""

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(1, _TRIES):
            try:
                return method(*args, **kwargs)
            except LedgerConflict:
                time.sleep(_PAUSE * 2**attempt * random.random())  # noqa: S311 - jitter
        return method(*args, **kwargs)

    return run
