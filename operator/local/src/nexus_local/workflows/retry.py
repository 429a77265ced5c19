"""`retryStrategy`: whether a failed attempt is followed by another, and when.

Policies: OnFailure (the default), OnError, Always (the default beside an expression) and
OnTransientError, which never retries here: what it matches are messages of a cluster's network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nexus_local.workflows.durations import parse_duration
from nexus_local.workflows.errors import WorkflowError
from nexus_local.workflows.nodes import Node, Phase
from nexus_local.workflows.retry_expressions import holds

POLICIES: dict[str, frozenset[Phase]] = {
    "Always": frozenset({Phase.FAILED, Phase.ERROR}),
    "OnFailure": frozenset({Phase.FAILED}),
    "OnError": frozenset({Phase.ERROR}),
    "OnTransientError": frozenset(),
}
LONGEST_WAIT = timedelta(days=365)  # where doubling would leave the range of a datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt: the Retry node takes the last attempt's phase, with this message."""

    message: str


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """The next attempt starts at `moment`."""

    moment: datetime
    message: str


@dataclass(frozen=True, slots=True)
class RetryNow:
    """The next attempt starts at once."""


def next_attempt(
    strategy: Mapping[str, Any], attempts: Sequence[Node], now: datetime
) -> GiveUp | WaitUntil | RetryNow:
    """Decide what follows the last attempt, which failed.

    strategy: final text and numbers. attempts: first to last, at least one. Raises WorkflowError
    when the strategy itself is wrong.
    """
    last = attempts[-1]
    limit = None if strategy.get("limit") is None else int(strategy["limit"])
    backoff = strategy.get("backoff")
    if backoff:
        verdict = _wait(backoff, attempts, limit, now)
        if verdict is not None:
            return verdict
    default = "Always" if strategy.get("expression") else "OnFailure"
    policy = strategy.get("retryPolicy") or default
    if policy not in POLICIES:
        raise WorkflowError(f"{policy} is not a valid RetryPolicy")
    if last.phase not in POLICIES[policy]:
        return GiveUp(last.message)
    if limit is not None and len(attempts) > limit:
        return GiveUp("No more retries left")
    if strategy.get("expression") and not holds(strategy["expression"], last_retry(attempts)):
        return GiveUp("retryStrategy.expression evaluated to false")
    return RetryNow()


def _wait(
    backoff: Mapping[str, Any], attempts: Sequence[Node], limit: int | None, now: datetime
) -> GiveUp | WaitUntil | None:
    ends = None
    if backoff.get("maxDuration"):
        ends = (attempts[0].started_at or now) + parse_duration(backoff["maxDuration"])
        if now > ends:
            return GiveUp("Max duration limit exceeded")
    if not backoff.get("duration"):
        raise WorkflowError("no base duration specified for retryStrategy")
    pause = parse_duration(backoff["duration"])
    factor = int(backoff["factor"]) if backoff.get("factor") is not None else 0
    if factor > 0:
        try:
            pause *= factor ** (len(attempts) - 1)
        except OverflowError:
            pause = LONGEST_WAIT
    pause = min(pause, LONGEST_WAIT)
    if backoff.get("cap"):
        pause = min(pause, parse_duration(backoff["cap"]))
    moment = (attempts[-1].finished_at or now) + pause
    if ends is not None and moment > ends:
        return GiveUp("Backoff would exceed max duration limit")
    if now < moment and limit is not None and len(attempts) <= limit:
        return WaitUntil(moment, f"Backoff for {pause.total_seconds():g}s")
    return None


def last_retry(attempts: Sequence[Node]) -> dict[str, str]:
    """Return what the variables of a retry expression stand for after the last attempt."""
    last = attempts[-1]
    return {
        "retries": str(len(attempts) - 1),
        "lastRetry.exitCode": (last.outputs or {}).get("exitCode", "-1"),
        "lastRetry.status": str(last.phase),
        "lastRetry.duration": f"{last.duration_seconds:g}",
        "lastRetry.message": last.message,
    }
