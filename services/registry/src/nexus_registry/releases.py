"""Who was champion, who is, and how that may change: pure rules.

The champions of a model form a stack.  A promotion puts a version on top; a rollback takes the top
off, so a second rollback goes one further back and never to the version that was just left.  A
version lies on the stack once: promoting an old one lifts it to the top.

A stack belongs to one job.  A job that is made anew under a name finds the model and its versions,
and begins with no champions of its own: neither its gate nor a rollback goes to a former job's
version, which only a person brings back, by its number.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from nexus_registry.errors import MoveNotAllowed, NothingToRollBackTo, Refused

GATE = "gate"
_KEPT = 50  # champions and withdrawn versions that are remembered

VERDICT_TAG = "nexus.verdict"
CHALLENGED_TAG = "nexus.challenged"


class _Stored(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )

    def text(self) -> str:
        """Write it for the registry."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `text` wrote.  Raises Refused for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise Refused(
                "the registry's record of champions cannot be read; somebody changed it by hand: "
                f"{error.errors()[0]['msg']}"
            ) from error


class Move(_Stored):
    """One change of the champion, as the audit trail keeps it."""

    number: int
    kind: Literal["promote", "rollback"]
    before: str | None
    after: str
    by: str
    why: str
    at: datetime
    request: str


class Releases(_Stored):
    """The champions of one model, the oldest first, and the last move."""

    champions: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    last: Move | None = None
    owner: str = ""  # uid of the job whose champions these are; empty before it was recorded

    def of(self, owner: str) -> Self:
        """Return these as a job sees them: without champions when they are a former job's."""
        if not owner or self.owner in {"", owner}:
            return self
        return self.model_copy(update={"champions": ()})

    @property
    def champion(self) -> str | None:
        """The version that is served."""
        return self.champions[-1] if self.champions else None

    @property
    def previous(self) -> str | None:
        """The version that a rollback would go to."""
        return self.champions[-2] if len(self.champions) > 1 else None


@dataclass(frozen=True, slots=True)
class Asked:
    """A move that somebody asks for."""

    request: str  # what asked: the same request moves the champion once
    by: str  # `gate`, or a person's name
    why: str
    at: datetime
    owner: str = ""  # uid of the job whose champion is to move; empty for whoever has champions

    def __post_init__(self) -> None:
        """Refuse a name that says nothing."""
        if not self.by.strip() or not self.by.isprintable() or len(self.by) > _LONGEST_NAME:
            raise MoveNotAllowed(
                f"{self.by[:40]!r} names nobody: say who moves the champion, in at most "
                f"{_LONGEST_NAME} printable characters"
            )


_LONGEST_NAME = 128


def promoted(releases: Releases, version: str, asked: Asked, tags: Mapping[str, str]) -> Releases:
    """Put a version on top; the same releases when it is there.

    Args:
        releases: what is so now.
        version: the one to promote.
        asked: who asks; a person may promote any registered version.
        tags: of the version: what the gate said of it, and against which champion.

    Raises:
        MoveNotAllowed: the gate asks, and its verdict is another one or no longer holds.
    """
    own = releases.of(asked.owner)
    if own.champion == version:
        return releases
    if asked.by == GATE:
        _check_verdict(own, version, tags)
    others = tuple(one for one in own.champions if one != version)
    return Releases(
        champions=(*others, version)[-_KEPT:],
        withdrawn=tuple(one for one in releases.withdrawn if one != version),
        last=_move(releases, "promote", version, asked),
        owner=asked.owner or releases.owner,
    )


def rolled_back(releases: Releases, asked: Asked, existing: Collection[str]) -> Releases:
    """Take the champion off; the one before it that still exists is champion again.

    Raises:
        NothingToRollBackTo: there is none.
        MoveNotAllowed: it is not a person who asks.
    """
    if asked.by == GATE:
        raise MoveNotAllowed("the gate rolls nothing back: name the person who asks (--by)")
    own = releases.of(asked.owner)
    left = tuple(one for one in own.champions[:-1] if one in existing)
    if not left:
        raise NothingToRollBackTo(
            "there is no earlier champion to roll back to; name a version to promote instead"
            if own.champions
            else "there is no champion yet, so there is nothing to roll back; a version of a "
            "former job of this name is promoted by its number"
        )
    gone = own.champions[-1]
    return Releases(
        champions=left,
        withdrawn=(*(one for one in releases.withdrawn if one != gone), gone)[-_KEPT:],
        last=_move(releases, "rollback", left[-1], asked),
        owner=asked.owner or releases.owner,
    )


def _check_verdict(releases: Releases, version: str, tags: Mapping[str, str]) -> None:
    verdict = tags.get(VERDICT_TAG, "")
    if verdict != "Promote":
        raise MoveNotAllowed(
            f"version {version} may not go live by the gate: its verdict is "
            f"{verdict or 'not known'}; a person can promote it by name"
        )
    if version in releases.withdrawn:
        raise MoveNotAllowed(
            f"version {version} was rolled back: only a person can promote it again, by name"
        )
    challenged = tags.get(CHALLENGED_TAG, "")
    if challenged != (releases.champion or ""):
        raise MoveNotAllowed(
            f"version {version} was compared with champion {challenged or '(none)'}, but champion "
            f"is now {releases.champion or '(none)'}: start another run, or promote it by name"
        )


def _move(releases: Releases, kind: Literal["promote", "rollback"], to: str, asked: Asked) -> Move:
    number = 1 if releases.last is None else releases.last.number + 1
    return Move(
        number=number, kind=kind, before=releases.champion, after=to,
        by=asked.by, why=asked.why, at=asked.at, request=asked.request,
    )  # fmt: skip
