"""What went through the proxy, in order."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fault_proxy.asked import Asked

_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(kw_only=True)
class Exchange:
    """One request and how it ended.

    Attributes:
        number: place among all requests, from 1.
        write: place among the writes, from 1; 0 for a request that only reads.
        asked: what was asked for.
        actor: who asked; a name that the proxy's owner gives to each start of a client.
        body_hash: SHA-256 of the request's body, in hexadecimal.
        shape: the same of the body without its times: what a repeated write has in common.
        status: HTTP status that the client was sent; 0 while none was, or when it was cut off.
        forwarded: status by the API server; 0 when the request never got there.
        disturbed: the fault that met the request, in words; empty when none did.
    """

    number: int
    write: int
    asked: Asked
    actor: str
    body_hash: str
    shape: str
    status: int = 0
    forwarded: int = 0
    disturbed: str = ""

    @property
    def changed(self) -> bool:
        """Whether the API server carried out a write."""
        return self.asked.writes and 200 <= self.forwarded < 300

    def __str__(self) -> str:
        """One line for a log."""
        note = f" [{self.disturbed}]" if self.disturbed else ""
        return f"{self.number} {self.actor}: {self.asked} -> {self.status or 'cut'}{note}"


@dataclass
class Record:
    """All exchanges; somebody may wait until there is one of a certain kind."""

    exchanges: list[Exchange] = field(default_factory=list)
    _writes: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, asked: Asked, body: bytes, *, actor: str, write: bool) -> Exchange:
        """Note that a request has come; a dry run is no write."""
        if write:
            self._writes += 1
        exchange = Exchange(
            number=len(self.exchanges) + 1,
            write=self._writes if write else 0,
            asked=asked,
            actor=actor,
            body_hash=hashlib.sha256(body).hexdigest(),
            shape=hashlib.sha256(_TIME.sub(b"", body)).hexdigest(),
        )
        self.exchanges.append(exchange)
        return exchange

    def end(self, exchange: Exchange, status: int) -> None:
        """Note how a request ended."""
        exchange.status = status
        self._news.set()

    @property
    def count(self) -> int:
        """The number of writes so far."""
        return self._writes

    @property
    def busy(self) -> int:
        """The number of requests so far that do more than keep a Lease."""
        return sum(one.asked.resource != "leases" for one in self.exchanges)

    def writes(self) -> Iterator[Exchange]:
        """Yield the writes in order."""
        return (one for one in self.exchanges if one.write)

    def watches(self, actor: str) -> int:
        """Return how many watches a client has begun."""
        return sum(one.asked.verb == "watch" and one.actor == actor for one in self.exchanges)

    async def until(self, holds: Callable[["Record"], bool]) -> None:
        """Wait until `holds`; it is asked anew after each request that ended."""
        while not holds(self):
            self._news.clear()
            await self._news.wait()
