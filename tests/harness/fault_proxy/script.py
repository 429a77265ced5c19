"""A script of faults at work: which fault meets a request or a watch event."""

from collections.abc import Callable, Iterable

from fault_proxy.asked import Asked
from fault_proxy.faults import (
    Answer,
    Counter,
    Events,
    Fault,
    Kill,
    Outage,
    StaleReads,
    Stall,
)
from fault_proxy.record import Exchange


class Script:
    """Counts what each fault has seen; `met` tells which faults ever struck."""

    def __init__(self, faults: Iterable[Fault], now: Callable[[], float]) -> None:
        """Take the faults and the clock that outages are measured by."""
        self._counters = [Counter(fault) for fault in faults]
        self._now = now

    @property
    def met(self) -> list[Fault]:
        """The faults that have struck at least once."""
        return [one.fault for one in self._counters if one.done]

    def kill(self, exchange: Exchange) -> Kill | None:
        """Return the kill that is due at this write."""
        for one in self._counters:
            fault = one.fault
            if isinstance(fault, Kill) and exchange.write == fault.write and not one.done:
                one.done += 1
                return fault
        return None

    def disturbance(self, asked: Asked) -> Answer | Stall | None:
        """Return the first error or stall that is due for a request; all of them count it."""
        due: Answer | Stall | None = None
        for one in self._counters:
            fault = one.fault
            if not isinstance(fault, Answer | Stall) or not fault.match(asked):
                continue
            one.seen += 1
            if due is None and fault.nth <= one.seen < fault.nth + fault.times:
                one.done += 1
                due = fault
        return due

    def outage(self, request_number: int) -> tuple[bool, bool]:
        """Return whether the API server is away now, and whether it has gone this moment."""
        away = began = False
        for one in self._counters:
            fault = one.fault
            if not isinstance(fault, Outage):
                continue
            if not one.done and request_number >= fault.at:
                one.done, one.ends_at, began = 1, self._now() + fault.seconds, True
            away = away or bool(one.done and self._now() < one.ends_at)
        return away, began

    def stale(self, asked: Asked, writes: int) -> StaleReads | None:
        """Return how old the answer to a read is to be."""
        for one in self._counters:
            fault = one.fault
            if not isinstance(fault, StaleReads) or not fault.match(asked):
                continue
            if writes >= fault.after_write and one.done < fault.reads:
                one.done += 1
                return fault
        return None

    def event(self, asked: Asked) -> Events | None:
        """Return what happens to the next event of a watch."""
        for one in self._counters:
            fault = one.fault
            if not isinstance(fault, Events) or not fault.match(asked):
                continue
            one.seen += 1
            if one.seen % fault.every == 0 and one.done < fault.times:
                one.done += 1
                return fault
        return None
