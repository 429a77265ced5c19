"""Conditions of a status: merged by type, with a transition time that moves only on a change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nexus_api.meta import Manifest


@dataclass(frozen=True)
class Finding:
    """One aspect as found now; `message` is a sentence for a person."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True)
class Transition:
    """A condition that has changed, worth an event."""

    type: str
    reason: str
    message: str
    warning: bool


GOOD_WHEN_FALSE = frozenset(
    {"Degraded", "InsufficientCapacity", "UpdateAvailable", "AdapterNotReleased", "Held"}
)
"""Conditions that name a trouble or a notice: True is not the normal state."""

ROUTINE = frozenset({"Checking", "Stopping"})
"""Reasons that come and go in normal work and are no news."""


ON_THE_WAY = frozenset(
    {"Running", "Syncing", "Starting", "Surging", "Settled", "NoticesOff", "AdapterLoading"}
)
"""Reasons that say no more than that work goes on as it should: nothing to warn of."""


def timestamp(now: datetime) -> str:
    """Return the time as Kubernetes writes it, in whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(
    old: Sequence[Manifest],
    findings: Iterable[Finding],
    *,
    generation: int,
    now: datetime,
    drop: frozenset[str] = frozenset(),
) -> list[Manifest]:
    """Return all conditions: `findings` over `old`; types that nobody found now stay as they are.

    `drop` names the types that no longer apply.
    """
    merged = {str(one["type"]): one for one in old if one["type"] not in drop}
    for finding in findings:
        before = merged.get(finding.type)
        status = "True" if finding.holds else "False"
        same = before is not None and before["status"] == status
        merged[finding.type] = {
            "type": finding.type,
            "status": status,
            "reason": finding.reason,
            "message": finding.message,
            "lastTransitionTime": before["lastTransitionTime"]
            if before is not None and same
            else timestamp(now),
            "observedGeneration": generation,
        }
    return [merged[name] for name in sorted(merged, key=_order)]


def transitions(old: Sequence[Manifest], new: Sequence[Manifest]) -> tuple[Transition, ...]:
    """Return the conditions whose status or reason has changed, without what is routine."""
    before = {str(one["type"]): (one["status"], one["reason"]) for one in old}
    changed = []
    for one in new:
        kind = str(one["type"])
        told = before.get(kind)
        if told == (one["status"], one["reason"]) or one["reason"] in ROUTINE:
            continue
        if told is not None and told[0] == one["status"] and told[1] in ROUTINE:
            continue
        bad = (one["status"] == "True") == (kind in GOOD_WHEN_FALSE)
        bad = bad and one["reason"] not in ON_THE_WAY
        if told is None and kind in GOOD_WHEN_FALSE and not bad:
            continue
        changed.append(Transition(kind, str(one["reason"]), str(one["message"]), bad))
    return tuple(changed)


def reason_of(conditions: Sequence[Manifest], kind: str) -> str:
    """Return the reason of a condition, empty when it is not there."""
    return next((str(one["reason"]) for one in conditions if one["type"] == kind), "")


def _order(kind: str) -> tuple[bool, str]:
    return (kind != "Ready", kind)
