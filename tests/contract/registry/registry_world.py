"""What tests of the registry share."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from nexus_registry import Asked, Connection

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Counted(Connection):
    """A connection of a process that is killed before its call number `dies_at`."""

    calls = 0
    dies_at: int | None = None

    def call(self, action: str, do: Callable[[Any], Any]) -> Any:
        if self.dies_at is not None and self.calls >= self.dies_at:
            raise Killed(action)
        self.calls += 1
        return super().call(action, do)


def asked(by: str = "anna", request: str = "ask", why: str = "tests") -> Asked:
    return Asked(request=request, by=by, why=why, at=NOW)


def aliases(connection: Connection, model: str) -> dict[str, str]:
    found = connection.call("read", lambda client: client.get_registered_model(model))
    return {alias: str(number) for alias, number in found.aliases.items()}
