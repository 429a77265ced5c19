"""`retryStrategy`: whether a failed attempt is followed by another, and when.

Argo waits out the back-off before it asks whether the policy allows a further attempt; here the
policy comes first, so that a final failure is final at once. The phases are the same.

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
from nexus_local.workflows.substitution import whole_number

POLICIES: dict[str, frozenset[Phase]] = {
    "Always": frozenset({Phase.FAILED, Phase.ERROR}),
    "OnFailure": frozenset({Phase.FAILED}),
    "OnError": frozenset({Phase.ERROR}),
    "OnTransientError": frozenset(),
}
FIRST_ATTEMPT = {
    "lastRetry.exitCode": "0",
    "lastRetry.status": "",
    "lastRetry.duration": "0",
    "lastRetry.message": "",
}
LARGEST_FACTOR = 10**6
LONGEST_WAIT = timedelta(days=365)  # beyond it, doubling leaves the range of a datetime


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
    limit = strategy.get("limit")
    most = None if limit is None else whole_number(limit, "retryStrategy.limit")
    pause = _wait(strategy.get("backoff") or {}, attempts, now)
    if isinstance(pause, GiveUp):
        return pause
    default = "Always" if strategy.get("expression") else "OnFailure"
    policy = strategy.get("retryPolicy") or default
    if policy not in POLICIES:
        raise WorkflowError(f"{policy} is not a valid RetryPolicy")
    if last.phase not in POLICIES[policy]:
        return GiveUp(last.message)
    if most is not None and len(attempts) > most:
        return GiveUp("No more retries left")
    if strategy.get("expression") and not holds(strategy["expression"], last_retry(attempts)):
        return GiveUp("retryStrategy.expression evaluated to false")
    return pause


def _wait(
    backoff: Mapping[str, Any], attempts: Sequence[Node], now: datetime
) -> GiveUp | WaitUntil | RetryNow:
    ends = None
    if backoff.get("maxDuration"):
        ends = (attempts[0].started_at or now) + parse_duration(backoff["maxDuration"])
        if now > ends:
            return GiveUp("Max duration limit exceeded")
    if not backoff:
        return RetryNow()
    if not backoff.get("duration"):
        raise WorkflowError("no base duration specified for retryStrategy")
    pause = min(parse_duration(str(backoff["duration"])), LONGEST_WAIT)
    factor = whole_number(backoff.get("factor") or 0, "retryStrategy.backoff.factor")
    if factor > 0:
        pause = min(pause * min(factor ** (len(attempts) - 1), LARGEST_FACTOR), LONGEST_WAIT)
    if backoff.get("cap"):
        pause = min(pause, parse_duration(str(backoff["cap"])))
    moment = (attempts[-1].finished_at or now) + pause
    if ends is not None and moment > ends:
        return GiveUp("Backoff would exceed max duration limit")
    if now < moment:
        return WaitUntil(moment, f"Backoff for {pause.total_seconds():g}s")
    return RetryNow()


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


def attempt_values(earlier: Sequence[Node]) -> dict[str, str]:
    """Return what `{{retries}}` and `{{lastRetry...}}` stand for in the next attempt's template.

    earlier: the attempts before it, none for the first.
    """
    return {**(last_retry(earlier) if earlier else FIRST_ATTEMPT), "retries": str(len(earlier))}
