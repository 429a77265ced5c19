"""When a FineTuneJob is run next, from its spec, its last run, requests and the clock."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cronsim import CronSim, CronSimError

from nexus_api.duration import parse_duration
from nexus_api.finetunejob import FineTuneJob, FineTuneJobSpec
from nexus_operator.naming import digest
from nexus_operator.plan.tuning_requests import alert_began, open_runs

Cause = Literal["First", "Changed", "Schedule", "Alert", "Requested"]

_RUN_DEPENDS_ON = {"base_model", "data", "lora", "evaluation"}


class BadSchedule(ValueError):
    """The cron fields of a spec mean nothing; the message says which do."""


@dataclass(frozen=True, kw_only=True)
class LastStart:
    """The start of the newest run, and the hash of what it depended on."""

    at: datetime
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """When the next run is due, and why."""

    at: datetime
    cause: Cause
    request: str = ""


def settings_text(spec: FineTuneJobSpec) -> str:
    """Return the spec with all defaults as compact JSON, the form in which a run receives it.

    A user's `{{` is written as an escape, which only the reader of the JSON undoes: in a Workflow
    it would be taken for a tag.  Outside of strings JSON never has two braces in a row that open.
    """
    text = json.dumps(spec.manifest(), sort_keys=True, separators=(",", ":"))
    return text.replace("{{", "{\\u007b")


def fingerprint(spec: FineTuneJobSpec) -> str:
    """Return the hash of what a run depends on: triggers and promotion are not part of it.

    A default counts as if it were not there, so that one which a release adds starts no run.
    """
    parts = spec.model_dump(
        mode="json", by_alias=True, include=_RUN_DEPENDS_ON, exclude_defaults=True
    )
    return digest(parts)[:16]


def next_run(job: FineTuneJob, last: LastStart | None, now: datetime) -> NextRun | None:
    """Return the next run that is due, None when nothing asks for one.  Raises BadSchedule."""
    due = [*_by_spec(job, last, now), *_by_request(job, last, now), *_by_schedule(job, last, now)]
    return min(due, key=lambda one: one.at, default=None)


def covered(request: str, last: LastStart | None) -> bool:
    """Tell whether the last run is the answer to an alert: it began after the alert did."""
    began = alert_began(request)
    return began is not None and last is not None and began < last.at


def tick_after(schedule: str, moment: datetime) -> datetime:
    """Return the next moment that five cron fields name, in UTC.  Raises BadSchedule."""
    try:
        return next(CronSim(schedule, moment.astimezone(UTC)))
    except (CronSimError, StopIteration) as problem:
        raise BadSchedule(
            f"spec.triggers.schedule {schedule!r} cannot be read ({problem}): write minute, hour, "
            "day, month and weekday"
        ) from problem


def _by_spec(job: FineTuneJob, last: LastStart | None, now: datetime) -> list[NextRun]:
    if job.spec.triggers is not None:
        return []
    if last is None:
        return [NextRun(at=now, cause="First")]
    changed = last.fingerprint != fingerprint(job.spec)
    return [NextRun(at=now, cause="Changed")] if changed else []


def _by_request(job: FineTuneJob, last: LastStart | None, now: datetime) -> Iterator[NextRun]:
    triggers = job.spec.triggers
    for request in open_runs(job):
        if alert_began(request) is None:
            yield NextRun(at=now, cause="Requested", request=request)
        elif triggers is not None and triggers.alerts and not covered(request, last):
            yield NextRun(at=_rested(job, last, now), cause="Alert", request=request)


def _by_schedule(job: FineTuneJob, last: LastStart | None, now: datetime) -> list[NextRun]:
    triggers = job.spec.triggers
    if triggers is None or triggers.schedule is None:
        return []
    since = last.at if last else job.metadata.creation_timestamp or now
    tick = tick_after(triggers.schedule, min(since, now))
    return [NextRun(at=_rested(job, last, tick), cause="Schedule")]


def _rested(job: FineTuneJob, last: LastStart | None, at: datetime) -> datetime:
    """Return `at`, or the end of the cooldown when that is later."""
    if last is None or job.spec.triggers is None:
        return at
    return max(at, last.at + parse_duration(job.spec.triggers.cooldown))
