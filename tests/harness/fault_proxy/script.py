"""A script of faults at work: which fault meets a request or a watch event."""

from collections.abc import Callable, Iterable
from typing import Literal

from fault_proxy.asked import Asked
from fault_proxy.faults import (
    Answer,
    Counter,
    Events,
    Fault,
    Kill,
    KillEach,
    Outage,
    StaleReads,
    Stall,
)
from fault_proxy.record import Exchange

_BEFORE_THEN_AFTER: tuple[Literal["before"], Literal["after"]] = ("before", "after")


class Script:
    """Counts what each fault has seen and done."""

    def __init__(self, faults: Iterable[Fault], now: Callable[[], float]) -> None:
        """Take the faults and the clock that outages are measured by."""
        self._counters = [Counter(fault) for fault in faults]
        self._now = now
        self.paused = False
        """While this is set no new fault strikes."""

    @property
    def struck(self) -> int:
        """How many times a fault has struck."""
        return sum(one.done for one in self._counters)

    def _active(self) -> list[Counter]:
        return [] if self.paused else self._counters

    def kill(self, exchange: Exchange) -> Kill | None:
        """Return the kill that is due at this write."""
        for one in self._active():
            fault = one.fault
            if isinstance(fault, Kill) and exchange.write == fault.write and not one.done:
                one.done += 1
                return fault
            if isinstance(fault, KillEach):
                what = f"{exchange.asked} {exchange.shape}"
                times = one.known[what] = one.known.get(what, 0) + 1
                if times <= len(_BEFORE_THEN_AFTER):
                    one.done += 1
                    return Kill(write=exchange.write, when=_BEFORE_THEN_AFTER[times - 1])
        return None

    def disturbance(self, asked: Asked) -> Answer | Stall | None:
        """Return the first error or stall that is due for a request; all of them count it."""
        due: Answer | Stall | None = None
        for one in self._active():
            fault = one.fault
            if not isinstance(fault, Answer | Stall) or not fault.match(asked):
                continue
            is_due = one.due(nth=fault.nth, every=fault.every, times=fault.times)
            if due is None and is_due:
                one.done += 1
                due = fault
        return due

    def outage(self, request_number: int) -> tuple[bool, bool]:
        """Return whether the API server is away now, and whether it has gone this moment."""
        away = began = False
        for one in self._active():
            fault = one.fault
            if not isinstance(fault, Outage):
                continue
            if not one.done and request_number >= fault.at:
                one.done, one.ends_at, began = 1, self._now() + fault.seconds, True
            away = away or bool(one.done and self._now() < one.ends_at)
        return away, began

    def stale(self, asked: Asked, writes: int) -> StaleReads | None:
        """Return how old the answer to a read is to be."""
        for one in self._active():
            fault = one.fault
            if not isinstance(fault, StaleReads) or not fault.match(asked):
                continue
            if writes < fault.after_write:
                continue
            if one.due(nth=1, every=fault.every, times=fault.times):
                one.done += 1
                return fault
        return None

    def event(self, asked: Asked) -> Events | None:
        """Return what happens to the next event of a watch."""
        for one in self._active():
            fault = one.fault
            if not isinstance(fault, Events) or not fault.match(asked):
                continue
            if one.due(nth=fault.every, every=fault.every, times=fault.times):
                one.done += 1
                return fault
        return None
