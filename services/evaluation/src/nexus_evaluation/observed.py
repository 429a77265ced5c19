"""What was seen of either side and decides nothing: how it stands changed questions, its latency.

It comes from `evaluation.json`, beside the results by item that the gate decides on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nexus_evaluation.behavioural import Behaviour
from nexus_evaluation.metrics.latency import Latency

CANDIDATE, PRODUCTION = "candidate", "production"


class Row(NamedTuple):
    """One line of a table; a side of which nothing is known has an empty cell."""

    name: str
    candidate: str
    production: str


@dataclass(frozen=True, slots=True)
class Observed:
    """By side, `candidate` and `production`."""

    behaviour: Mapping[str, Mapping[str, Behaviour]] = field(default_factory=dict)
    """Also by the name of the change."""
    latency: Mapping[str, Latency] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Observed":
        """Read it from `evaluation.json`; what that does not tell is not known."""
        told = document.get("behaviour") or {}
        latencies = document.get("latency") or {}
        return cls(
            {
                side: {one.name: one for one in map(Behaviour.model_validate, found)}
                for side, found in told.items()
            },
            {side: Latency.model_validate(one) for side, one in latencies.items() if one},
        )

    def rows(self) -> tuple[Row, ...]:
        """Return lines for people: how many items stood each change, and milliseconds."""
        sides = [self.behaviour.get(side, {}) for side in (CANDIDATE, PRODUCTION)]
        names = dict.fromkeys(name for side in sides for name in side)
        stood = (
            Row(_titled(name, sides), *(_stood(side, name) for side in sides)) for name in names
        )
        times = [self.latency.get(side) for side in (CANDIDATE, PRODUCTION)]
        took = (
            Row(f"latency, {name} (ms)", *(_milliseconds(one, name) for one in times))
            for name in Latency.model_fields
            if any(times)
        )
        return (*stood, *took)

    def figures(self) -> Iterator[tuple[str, float]]:
        """Yield figures by name: `candidate.behaviour.typos`, `production.latencyMs.p95`."""
        for side, changes in self.behaviour.items():
            for name, one in changes.items():
                yield f"{side}.behaviour.{name}", one.share
        for side, times in self.latency.items():
            for name, value in times:
                yield f"{side}.latencyMs.{name}", value


def _titled(name: str, sides: list[Mapping[str, Behaviour]]) -> str:
    kind = next(side[name].kind for side in sides if name in side)
    return f"{kind}: {name}"


def _stood(side: Mapping[str, Behaviour], name: str) -> str:
    return f"{side[name].passed} of {side[name].items}" if name in side else ""


def _milliseconds(times: Latency | None, name: str) -> str:
    return "" if times is None else f"{getattr(times, name):.1f}"
