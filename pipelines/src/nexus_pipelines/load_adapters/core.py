"""From what a server should have and what it has to what is to be done.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from nexus_api.adapter_loading import AdaptersToLoad, AdapterToLoad, LoadedAdapters

GRACE_SECONDS = 900.0
"""How long a version that nobody wants any more stays: gateways that hear nothing new for a while
go on asking for it, and a rollback finds it there."""

PATIENCE_SECONDS = 60.0
"""How long a pod that could answer waits for versions that nobody asks for yet."""

FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Trouble:
    """Why something was in vain; `tries` in a row, the last of them `at` that time."""

    words: str
    at: float
    tries: int = 1

    def again(self, words: str, at: float) -> "Trouble":
        """Return what it is after one more try."""
        return Trouble(words, at, self.tries + 1)

    def over(self, now: float) -> bool:
        """Tell whether it is time for another try: waits double up to a minute."""
        wait = FIRST_WAIT_SECONDS * 2.0 ** min(self.tries - 1, 10)
        return now - self.at >= min(wait, LONGEST_WAIT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of a pod at one time.

    Attributes:
        wanted: what was read last; None before the first time.
        loaded: names that the server answers by; None while it does not answer.
        fetched: names whose files are in their folders.
        fetching: the name whose files are on their way, "" for none.
        troubles: what was in vain, by the adapter's name.
        unwanted: since when nobody has wanted a name that is loaded.
        complete: since when everything that requests ask for is loaded, None while it is not.
        ready: whether the pod was ready when this was looked at before.
    """

    wanted: AdaptersToLoad | None = None
    loaded: frozenset[str] | None = None
    fetched: frozenset[str] = frozenset()
    fetching: str = ""
    troubles: Mapping[str, Trouble] = field(default_factory=lambda: MappingProxyType({}))
    unwanted: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    complete: float | None = None
    ready: bool = False


@dataclass(frozen=True, kw_only=True)
class Todo:
    """What is to be done now: at most one fetch at a time."""

    fetch: AdapterToLoad | None = None
    load: tuple[AdapterToLoad, ...] = ()
    unload: tuple[str, ...] = ()


def looked(seen: Seen, now: float, grace: float = GRACE_SECONDS) -> tuple[Seen, Todo]:
    """Return what is known with its times and readiness brought up to `now`, and what to do.

    What the file names is never unloaded, and what is loaded is never loaded again.
    """
    wanted = _wanted(seen)
    names = {one.name for one in wanted}
    there = seen.loaded or frozenset()
    # A server that does not answer for a while has forgotten all of them, or will be seen again.
    unwanted = {
        name: seen.unwanted.get(name, now) for name in there - names if seen.wanted is not None
    }
    troubles = {
        name: trouble
        for name, trouble in seen.troubles.items()
        if name in (names - there) | unwanted.keys()
    }
    seen = replace(seen, unwanted=unwanted, troubles=troubles)
    complete = seen.complete if seen.complete is not None else now
    seen = replace(seen, complete=complete if _is_complete(seen) else None)
    seen = replace(seen, ready=_is_ready(seen, now))

    def due(name: str) -> bool:
        trouble = troubles.get(name)
        return trouble is None or trouble.over(now)

    absent = [one for one in wanted if one.name not in there and due(one.name)]
    todo = Todo(
        fetch=next((o for o in absent if o.name not in seen.fetched and not seen.fetching), None),
        load=tuple(one for one in absent if one.name in seen.fetched and seen.loaded is not None),
        unload=tuple(
            sorted(name for name, at in unwanted.items() if now - at >= grace and due(name))
        ),
    )
    return seen, todo


def report(seen: Seen) -> LoadedAdapters:
    """Return what the pod tells of itself."""
    wanted = _wanted(seen)
    return LoadedAdapters(
        told=[one.name for one in wanted],
        loaded=sorted(seen.loaded or ()),
        refused={
            one.name: seen.troubles[one.name].words for one in wanted if one.name in seen.troubles
        },
    )


def _wanted(seen: Seen) -> list[AdapterToLoad]:
    """Return what is wanted, what requests ask for already first."""
    adapters = seen.wanted.adapters if seen.wanted else []
    return sorted(adapters, key=lambda one: not one.needed)


def _is_complete(seen: Seen) -> bool:
    """Tell whether the server has everything that requests ask for."""
    if seen.wanted is None or seen.loaded is None:
        return False
    return all(one.name in seen.loaded for one in seen.wanted.adapters if one.needed)


def _is_ready(seen: Seen, now: float) -> bool:
    """Tell whether requests may come.

    What they ask for has to be there.  Any other version is waited for by a pod that is not ready
    yet, until it is there or was in vain, so that nobody joins those that have it without it; but
    not for long, since it may never come.  A pod that answers goes on.
    """
    if seen.complete is None or seen.wanted is None or seen.loaded is None:
        return False
    if seen.ready or now - seen.complete >= PATIENCE_SECONDS:
        return True
    missing = [one for one in seen.wanted.adapters if one.name not in seen.loaded]
    return all(one.name in seen.troubles for one in missing)
