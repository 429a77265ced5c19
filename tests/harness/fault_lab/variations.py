"""The disturbances that every scenario has to get through."""

from collections.abc import Iterator, Sequence

from fault_proxy.faults import (
    READS,
    WRITES,
    Answer,
    Events,
    Kill,
    KillEach,
    Match,
    Outage,
    StaleReads,
    Stall,
)

from fault_lab.matrix import Variation

CODES = (409, 410, 422, 429, 500, 503)
LONG_STALL_SECONDS = 90.0
"""Longer than any timeout of the operator's client."""
OUTAGE_SECONDS = 120.0
_MANY = 10_000
OUR_WATCHES = Match(
    verbs=frozenset({"watch"}),
    resources=frozenset({"ragindexes", "servingmodels", "finetunejobs"}),
)
"""Not those of children: what is lost of them is found when their watch lists anew, by the hour."""


def killed_everywhere() -> Variation:
    """The operator dies at every write that it ever makes: once before it and once after it."""
    return Variation(label="killed before and after every write", script=(KillEach(),))


def killed_at(writes: int) -> Iterator[Variation]:
    """The operator dies once, before or after one write."""
    for number in range(1, writes + 1):
        yield Variation(
            label=f"killed before write {number}", script=(Kill(write=number, when="before"),)
        )
        yield Variation(
            label=f"killed after write {number}", script=(Kill(write=number, when="after"),)
        )


def watch_disturbances() -> Sequence[Variation]:
    """Events come late, not at all, twice, all at once; watches break."""
    return [
        Variation(label="events 20 s late", script=(Events(change="delay", seconds=20),)),
        Variation(
            label="every second event of our kinds lost",
            script=(Events(change="drop", every=2, match=OUR_WATCHES),),
        ),
        Variation(
            label="every event again 15 s later", script=(Events(change="replay", seconds=15),)
        ),
        Variation(label="events kept back for 30 s", script=(Events(change="hold", seconds=30),)),
        Variation(
            label="ERROR 410 for every third event", script=(Events(change="error", every=3),)
        ),
        Variation(label="watch cut at every third event", script=(Events(change="cut", every=3),)),
    ]


def errors() -> Sequence[Variation]:
    """Every third write and every seventh read is answered by an error, for each code.

    Seven, because a reconcile reads fewer times: one that met an error at the same place each time
    would never come through, whatever the operator does.
    """
    return [
        Variation(
            label=f"HTTP {code} for every third write and every seventh read",
            script=(
                Answer(status=code, match=WRITES, nth=1, every=3, times=_MANY),
                Answer(status=code, match=READS, nth=2, every=7, times=_MANY),
            ),
        )
        for code in CODES
    ]


def others() -> Sequence[Variation]:
    """Answers that lie, silence, outages, old reads, two operators."""
    watch = Match(verbs=frozenset({"watch"}))
    lying = Answer(status=500, match=WRITES, nth=1, every=2, times=_MANY, carried_out=True)
    long = LONG_STALL_SECONDS
    return [
        Variation(label="every second write carried out and answered 500", script=(lying,)),
        Variation(
            label="writes carried out and never answered",
            script=(
                Stall(
                    seconds=long,
                    match=WRITES,
                    nth=3,
                    every=9,
                    times=3,
                    carried_out=True,
                ),
            ),
        ),
        Variation(
            label="reads and watches that stall",
            script=(
                Stall(seconds=long, match=READS, nth=5, every=11, times=2),
                Stall(seconds=long, match=watch, nth=2, every=3, times=2),
            ),
        ),
        Variation(
            label="API server away for two minutes",
            script=(Outage(at=20, seconds=OUTAGE_SECONDS), Outage(at=60, seconds=OUTAGE_SECONDS)),
        ),
        Variation(
            label="every second read two writes old",
            script=(StaleReads(every=2, times=_MANY, behind=2),),
        ),
        Variation(label="two operators", operators=2),
        Variation(
            label="two operators that are killed at every fourth write",
            operators=2,
            script=tuple(Kill(write=n, when="after") for n in range(2, 400, 4)),
        ),
    ]


def all_once() -> Sequence[Variation]:
    """Every disturbance, each as one run of a scenario."""
    return [killed_everywhere(), *watch_disturbances(), *errors(), *others()]
