"""The faults that a script is made of; each is a value that says when and what.

A script is a list of faults.  Faults count by themselves: each sees the requests that match it.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fault_proxy.asked import Asked


@dataclass(frozen=True, kw_only=True)
class Match:
    """Which requests are meant; an empty set means any.  Only requests for resources match."""

    verbs: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    """Plural names, with the subresource where one is meant: `ragindexes/status`."""
    writes: bool | None = None

    def __call__(self, asked: Asked) -> bool:
        """Tell whether the request is meant."""
        if asked.verb == "other" or (self.verbs and asked.verb not in self.verbs):
            return False
        if self.resources and asked.what not in self.resources:
            return False
        return self.writes is None or self.writes == asked.writes


ANY = Match()
WRITES = Match(writes=True)
READS = Match(verbs=frozenset({"get", "list"}))
WATCHES = Match(verbs=frozenset({"watch"}))

REASONS = {
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""The reason that an API server gives with each status."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """The client dies at a write: before the API server has it, or before it hears of the answer.

    Attributes:
        write: number of the write, from 1.
        when: `before`: the write is not forwarded; `after`: it is carried out and not answered.
    """

    write: int
    when: Literal["before", "after"]


@dataclass(frozen=True)
class KillEach:
    """The client dies at each write that it makes: the first time before it, the second after it.

    From the third time on the very same write (its body, too, but for times) passes: some writes
    change nothing by themselves and have to go before others.
    """


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Requests get an error instead of what they ask for.

    Attributes:
        status: the HTTP status.
        match: which requests.
        nth: the first of them that gets it, from 1.
        every: from then on each how-many-th gets it (1: all).
        times: how many get it at most.
        carried_out: whether the request is carried out all the same, so that the answer lies.
        retry_after: seconds in the header Retry-After, when not 0.
    """

    status: int
    match: Match = ANY
    nth: int = 1
    every: int = 1
    times: int = 1
    carried_out: bool = False
    retry_after: int = 0


@dataclass(frozen=True, kw_only=True)
class Stall:
    """Requests are held for `seconds` and then their connection is cut.

    With `carried_out` the API server gets them at once; only the answer never comes.
    """

    seconds: float
    match: Match = ANY
    nth: int = 1
    every: int = 1
    times: int = 1
    carried_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Outage:
    """From request `at` on, for `seconds`, every connection is cut, watches included."""

    at: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StaleReads:
    """From write `after_write` on, each `every`-th read shows the past, `behind` writes ago.

    Lists are asked for at the exact resource version of then; a read of one object shows what a
    list of that version holds.
    """

    after_write: int = 1
    every: int = 1
    times: int = 1
    behind: int = 1
    match: Match = READS


Change: TypeAlias = Literal["drop", "delay", "replay", "hold", "error", "cut"]


@dataclass(frozen=True, kw_only=True)
class Events:
    """What happens to watch events.

    `drop`: they are never shown; `delay`: they come `seconds` late, the order stays; `replay`: each
    is shown again once `seconds` later, out of order; `hold`: all are kept until `seconds` after
    the first, then come at once; `error`: instead of the event the watch tells ERROR 410 and ends;
    `cut`: the connection is cut instead.

    Attributes:
        every: of the matching events, each how-many-th is disturbed (1: all).
        times: how many events at most.
    """

    change: Change
    match: Match = WATCHES
    seconds: float = 0.0
    every: int = 1
    times: int = 1_000_000


Fault: TypeAlias = Kill | KillEach | Answer | Stall | Outage | StaleReads | Events


@dataclass
class Counter:
    """A fault with the number of requests or events that it has seen."""

    fault: Fault
    seen: int = 0
    done: int = 0
    ends_at: float = 0.0
    known: dict[str, int] = field(default_factory=dict)

    def due(self, *, nth: int, every: int, times: int) -> bool:
        """Count one more and tell whether the fault meets it."""
        self.seen += 1
        return self.done < times and self.seen >= nth and (self.seen - nth) % every == 0
