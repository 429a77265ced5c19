"""The champion of a model, moved by one mover at a time.

What is so is one tag of the registered model, `nexus.releases`: writing it is the moment at which
a move happens.  The aliases `champion` and `previous`, the audit trail (`nexus.move.<number>`) and
the marks on versions follow from it; a mover that finds them behind brings them up first, so a
process that died in between leaves nothing half done for long.

MLflow has no compare-and-set.  A mover therefore writes a claim of its own
(`nexus.moving.<request>`) and then reads all claims: of two movers at least one sees the other, and
who sees another withdraws and tries again later.  A claim of a dead mover counts for five minutes.
What is left open: a mover that sleeps longer than its claim between two calls.  It notices that
afterwards (`MoveConflict`), and the Workflows that move champions hold a lock of their own.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nexus_registry.connection import Connection
from nexus_registry.errors import MoveConflict, NotFound, Unavailable
from nexus_registry.releases import Asked, Move, Releases, promoted, rolled_back
from nexus_registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Version, Versions

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RELEASES_TAG = "nexus.releases"
_MOVE_TAG = "nexus.move."
_CLAIM_TAG = "nexus.moving."
_CLAIMED = timedelta(minutes=5)
_MARGIN = timedelta(minutes=1)  # of a claim: left for the write that moves
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """The champions after a move."""

    champion: Version
    previous: str | None
    move: int | None  # number of the last move, by which two are told apart in their order
    moved: bool  # whether this call moved anything


@dataclass(frozen=True, slots=True)
class _Seen:
    """A registered model as it was read."""

    tags: Mapping[str, str]
    aliases: Mapping[str, str]

    @property
    def releases(self) -> Releases:
        text = self.tags.get(RELEASES_TAG)
        return Releases() if text is None else Releases.read(text)

    def answers(self, request: str) -> bool:
        """Say whether a request has moved the champion before."""
        last = self.releases.last
        if last is not None and last.request == request:
            return True
        return any(move.request == request for move in self.trail())

    def trail(self) -> list[Move]:
        """Return every move, the oldest first."""
        names = sorted(name for name in self.tags if name.startswith(_MOVE_TAG))
        return [Move.read(self.tags[name]) for name in names]


class Champions:
    """Moves champions; one of these does one move after another."""

    def __init__(
        self,
        connection: Connection,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the connection, and a clock that agrees with other movers' to a minute."""
        self._connection, self._now, self._sleep = connection, now, sleep
        self._versions = Versions(connection)

    def releases(self, model: str) -> Releases:
        """Return who is champion and who was; nothing yet for a model that nobody released.

        Raises:
            NotFound: there is no such model.
        """
        return self._read(model).releases

    def trail(self, model: str) -> list[Move]:
        """Return every move of a model, the oldest first."""
        return self._read(model).trail()

    def promote(self, model: str, number: str, asked: Asked) -> Outcome:
        """Make a version champion; the old champion becomes `previous`.

        Raises:
            MoveNotAllowed: neither a gate whose verdict holds nor a named person asks.
            NotFound: there is no such version.
            MoveConflict: somebody else is moving it.
        """
        version = self._versions.version(model, number)
        return self._move(model, asked, lambda now: promoted(now, number, asked, version.tags))

    def roll_back(self, model: str, asked: Asked) -> Outcome:
        """Make the version before the champion the champion.

        Raises:
            NothingToRollBackTo: there is none.
            MoveNotAllowed: it is not a person who asks.
            MoveConflict: somebody else is moving it.
        """
        return self._move(
            model, asked, lambda now: rolled_back(now, asked, self._versions.numbers(model))
        )

    def _move(self, model: str, asked: Asked, decide: Callable[[Releases], Releases]) -> Outcome:
        with self._claim(model, asked) as expires:
            seen = self._read(model)
            self._settle(model, seen)
            before = seen.releases
            wanted = before if seen.answers(asked.request) else decide(before)
            if wanted != before:
                if self._now() > expires - _MARGIN:
                    raise MoveConflict(f"moving the champion of {model} took too long; try again")
                self._set(model, RELEASES_TAG, wanted.text())
                self._settle(model, self._read(model))
            after = self._read(model).releases
            if after != wanted:
                raise MoveConflict(f"somebody else moved the champion of {model} meanwhile")
        if after.champion is None:
            raise NotFound(f"{model} has no champion")
        return Outcome(
            champion=self._versions.version(model, after.champion),
            previous=after.previous,
            move=after.last.number if after.last else None,
            moved=wanted != before,
        )

    def _settle(self, model: str, seen: _Seen) -> None:
        """Bring up what follows from the releases: trail, aliases, marks."""
        releases = seen.releases
        if (last := releases.last) is None:
            return
        name, text = f"{_MOVE_TAG}{last.number:06}", last.text()
        if seen.tags.get(name) != text:
            self._set(model, name, text)
        marked, mark = (last.before, "nexus.rolledBack") if last.kind == "rollback" else (
            last.after, "nexus.promoted"
        )  # fmt: skip
        self._mark(model, marked, mark, f"{last.at.isoformat()} by {last.by}: {last.why}")
        for alias, number in ((PREVIOUS, releases.previous), (CHAMPION, releases.champion)):
            self._point(model, alias, number, seen.aliases)
        if seen.aliases.get(CHALLENGER) == releases.champion:
            self._point(model, CHALLENGER, None, seen.aliases)

    def _mark(self, model: str, number: str | None, mark: str, text: str) -> None:
        if number is None:
            return
        with suppress(NotFound):  # a version that was deleted needs no mark
            self._connection.call(
                f"mark version {number} of {model}",
                lambda client: client.set_model_version_tag(model, number, mark, text),
            )

    def _point(
        self, model: str, alias: str, number: str | None, aliases: Mapping[str, str]
    ) -> None:
        if aliases.get(alias) == number:
            return

        def change(client: "MlflowClient") -> None:
            if number is None:
                client.delete_registered_model_alias(model, alias)
            else:
                client.set_registered_model_alias(model, alias, number)

        with suppress(NotFound):  # `previous` may have been deleted by hand
            self._connection.call(f"point {alias} of {model} to {number}", change)

    @contextmanager
    def _claim(self, model: str, asked: Asked) -> Iterator[datetime]:
        """Be the only mover; gives when that ends."""
        name = f"{_CLAIM_TAG}{hashlib.sha256(asked.request.encode()).hexdigest()[:16]}"
        for attempt in range(_TRIES):
            expires = self._now() + _CLAIMED
            claim = {"by": asked.by, "request": asked.request, "until": expires.isoformat()}
            self._set(model, name, json.dumps(claim))
            try:
                rival = self._rival(model, name)
                if rival is None:
                    yield expires
                    return
            finally:
                with suppress(Unavailable):  # then it counts until it expires
                    self._drop(model, name)
            self._sleep(0.2 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
        raise MoveConflict(f"the champion of {model} is being moved: asked for by {rival}")

    def _rival(self, model: str, own: str) -> str | None:
        """Name who else is moving the champion; claims that are over are removed."""
        for name, text in self._read(model).tags.items():
            if name.startswith(_CLAIM_TAG) and name != own:
                if rival := _holder(text, self._now()):
                    return rival
                self._drop(model, name)
        return None

    def _read(self, model: str) -> _Seen:
        found: Any = self._connection.call(
            f"read the registered model {model}",
            lambda client: client.get_registered_model(model),
        )
        aliases = {alias: str(number) for alias, number in dict(found.aliases).items()}
        return _Seen(dict(found.tags), aliases)

    def _set(self, model: str, name: str, value: str) -> None:
        self._connection.call(
            f"write {name} of {model}",
            lambda client: client.set_registered_model_tag(model, name, value),
        )

    def _drop(self, model: str, name: str) -> None:
        with suppress(NotFound):
            self._connection.call(
                f"remove {name} of {model}",
                lambda client: client.delete_registered_model_tag(model, name),
            )


def _holder(text: str, now: datetime) -> str | None:
    """Name who holds a claim; None for one that is over, and for what no mover wrote."""
    try:
        claim = json.loads(text)
        held = datetime.fromisoformat(claim["until"]) > now
        return f"{claim['by']} ({claim['request']})" if held else None
    except (ValueError, TypeError, KeyError):
        return None
