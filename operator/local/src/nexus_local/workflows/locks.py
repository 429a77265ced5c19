"""Mutexes: which workflow holds which lock, and who comes next."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Turn(NamedTuple):
    """The order in which workflows get a lock: higher priority first, then the older one."""

    minus_priority: int
    created: str
    key: str


@dataclass(slots=True)
class LockTable:
    """All mutexes of this engine; a workflow takes all that it names at once, or none.

    Keys are `<namespace>/<workflow>`, locks `<namespace>/Mutex/<name>`.
    """

    holders: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, tuple[Turn, frozenset[str]]] = field(default_factory=dict)

    def acquire(self, turn: Turn, locks: Iterable[str]) -> str:
        """Take the locks and return an empty text, or queue and return a lock it waits for."""
        wanted = frozenset(locks)
        self.waiting[turn.key] = (turn, wanted)
        for lock in sorted(wanted):
            first = min(other for other, names in self.waiting.values() if lock in names)
            if self.holders.get(lock, turn.key) != turn.key or first != turn:
                return lock
        del self.waiting[turn.key]
        self.holders |= dict.fromkeys(wanted, turn.key)
        return ""

    def reclaim(self, key: str, locks: Iterable[str]) -> None:
        """Give a workflow the locks that it held before a restart."""
        self.holders |= dict.fromkeys(locks, key)

    def release(self, key: str) -> None:
        """Free what a workflow holds, and take it out of the queue."""
        self.waiting.pop(key, None)
        self.holders = {lock: holder for lock, holder in self.holders.items() if holder != key}
