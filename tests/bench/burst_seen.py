"""What was seen of a burst: when each index and its Workflow came, at what cost."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Seen:
    """One burst before one contender."""

    made: dict[str, float] = field(default_factory=dict)
    """When each index was there, in seconds of a monotonic clock."""
    child: dict[str, float] = field(default_factory=dict)
    """When the Workflow of each was there."""
    requests: Counter[str] = field(default_factory=Counter)
    """`<verb> <resource>` that the API server answered, the burst's own creates left out."""
    processor: Counter[str] = field(default_factory=Counter)
    """Processor seconds by process."""
    settled: float = 0.0
    """When the last request that writes was answered."""

    def reactions(self) -> list[float]:
        """Seconds from each index to its Workflow, sorted."""
        return sorted(self.child[name] - at for name, at in self.made.items())

    def p99(self) -> float:
        """The reaction that one in a hundred exceeds."""
        return self.reactions()[int(len(self.made) * 0.99) - 1]

    def rate(self) -> float:
        """Children a second, from the first index to the last child."""
        return len(self.made) / (max(self.child.values()) - min(self.made.values()))

    def whole(self) -> float:
        """Seconds from the first index to the last write of any sort."""
        return max(self.settled, *self.child.values()) - min(self.made.values())

    def writes(self) -> float:
        """Writes to each resource itself."""
        verbs = ("PATCH", "PUT", "APPLY")
        return sum(self.requests[f"{verb} ragindexes"] for verb in verbs) / len(self.made)


def line(title: str, seen: Seen) -> str:
    """Return the figures of one contender."""
    created = max(seen.made.values()) - min(seen.made.values())
    offered = f"{len(seen.made) / created:.0f}/s" if created else "at once"
    each = " ".join(
        f"{name} {seconds / len(seen.made) * 1000:.1f}" for name, seconds in seen.processor.items()
    )
    asked = " ".join(
        f"{name} {count / len(seen.made):.2f}"
        for name, count in seen.requests.most_common()
        if count >= len(seen.made) / 20
    )
    return (
        f"{title:14} {seen.rate():6.0f}/s (offered {offered})"
        f"   p50 {statistics.median(seen.reactions()):6.2f} s   p99 {seen.p99():6.2f} s"
        f"   writes to each {seen.writes():.2f}"
        f"   all written in {seen.whole():.1f} s\n"
        f"               processor ms each: {each}\n               requests each: {asked}"
    )


def comparison(rounds: list[dict[str, Seen]], ours: str) -> str:
    """Return how `ours` stands to each other contender: median over the rounds, and spread."""
    lines = []
    for other in (title for title in rounds[0] if title != ours):
        rates = sorted(one[ours].rate() / one[other].rate() for one in rounds)
        reactions = sorted(one[other].p99() / one[ours].p99() for one in rounds)
        lines.append(
            f"{ours} to {other}: rate x{statistics.median(rates):.2f} "
            f"({rates[0]:.2f} to {rates[-1]:.2f}), p99 of the reaction "
            f"{statistics.median(reactions):.1f} times lower "
            f"({reactions[0]:.1f} to {reactions[-1]:.1f})"
        )
    return "\n".join(lines)
