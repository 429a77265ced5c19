"""Which waiting sequences go into the next batch.  Pure: the clock is passed in.

A request is due at its arrival plus a time for each of its tokens, and the earliest due goes first.
So a question of ten tokens overtakes a shard of thousands, and still no request waits for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from nexus_embedder.tokens import Ids

PATIENCE = 0.001  # seconds added to the due time by each token: several times its cost
LIKENESS = 0.5  # a batch takes sequences no shorter than this part of its longest


@dataclass(eq=False)
class Request:
    """The sequences that one caller waits for; `waiting` are those not yet handed out."""

    sequences: list[Ids]
    due: float
    waiting: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """All tokens of the request."""
        return sum(len(ids) for ids in self.sequences)


@dataclass(frozen=True)
class Place:
    """One sequence of a batch: whose it is, and where its vector belongs."""

    request: Request
    position: int

    @property
    def ids(self) -> Ids:
        """The sequence."""
        return self.request.sequences[self.position]


class Schedule:
    """Waiting requests, and the batches made of them."""

    def __init__(self, *, budget: int) -> None:
        """Make an empty schedule; `budget` is the tokens of a batch, padding included."""
        self._budget = budget
        self._requests: list[Request] = []
        self.tokens = 0
        """Tokens that wait."""

    def add(self, sequences: list[Ids], now: float) -> Request:
        """Take a request on: its longest sequences go first."""
        request = Request(sequences, due=now)
        request.due += PATIENCE * request.tokens
        request.waiting = sorted(
            range(len(sequences)), key=lambda index: len(sequences[index]), reverse=True
        )
        self._requests.append(request)
        self._requests.sort(key=lambda one: one.due)
        self.tokens += request.tokens
        return request

    def drop(self, request: Request) -> None:
        """Forget what is left of a request, for instance because its caller has gone."""
        if request in self._requests:
            self._requests.remove(request)
            self.tokens -= sum(len(request.sequences[index]) for index in request.waiting)
            request.waiting = []

    def next_batch(self) -> list[Place]:
        """Hand out sequences alike in length, within the budget or a single one.

        The batch is empty only when nothing waits.
        """
        batch: list[Place] = []
        longest = 0
        for place in self._in_order():
            length = len(place.ids)
            longest = longest or length
            widest = max(longest, length)
            if batch and (len(batch) + 1) * widest > self._budget:
                break
            if length < LIKENESS * longest or LIKENESS * length > longest:
                continue
            longest = widest
            batch.append(place)
        for place in batch:
            place.request.waiting.remove(place.position)
            self.tokens -= len(place.ids)
        self._requests = [request for request in self._requests if request.waiting]
        return batch

    def _in_order(self) -> Iterator[Place]:
        for request in self._requests:
            for position in request.waiting:
                yield Place(request, position)
