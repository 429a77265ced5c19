"""When a FineTuneJob is run next, from its spec, its last run, requests and the clock."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cronsim import CronSim, CronSimError

from nexus_api.duration import parse_duration
from nexus_api.finetunejob import FineTuneJob, FineTuneJobSpec
from nexus_operator.clock import past
from nexus_operator.naming import digest
from nexus_operator.plan.tuning_requests import alert_began, open_runs
from nexus_operator.status.tuning_history import Newest

Cause = Literal["First", "Changed", "Schedule", "Alert", "NewData", "Requested"]

LOOK_AGAIN = timedelta(seconds=30)
"""How soon to look at a Workflow of a job whose news should have been heard of."""

_RUN_DEPENDS_ON = {"base_model", "data", "lora", "evaluation"}


class BadSchedule(ValueError):
    """The cron fields of a spec mean nothing; the message says which do."""


@dataclass(frozen=True, kw_only=True)
class LastStart:
    """The start of the newest run, and the hash of what it depended on."""

    at: datetime
    fingerprint: str


def last_start(newest: Newest | None) -> LastStart | None:
    """Return the start of the newest run, None when there was none."""
    return LastStart(at=newest.started, fingerprint=newest.fingerprint) if newest else None


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


def next_run(
    job: FineTuneJob,
    last: LastStart | None,
    now: datetime,
    *,
    new_data: str = "",
    held_until: datetime | None = None,
) -> NextRun | None:
    """Return the next run that is due, None when nothing asks for one.  Raises BadSchedule.

    new_data: the request that new examples make by being enough, empty if they make none.
    held_until: when runs that alerts ask for may start, None for no such limit; no other run waits.
    """
    due = [*_by_spec(job, last, now), *_by_request(job, last, now, held_until or now)]
    due += _by_schedule(job, last, now)
    if new_data:
        due.append(NextRun(at=rested(job, last, now), cause="NewData", request=new_data))
    return min(due, key=lambda one: one.at, default=None)


def covered(request: str, last: LastStart | None) -> bool:
    """Tell whether the last run is the answer to an alert: it began after the alert did."""
    began = alert_began(request)
    return began is not None and last is not None and began < last.at


def waiting_alerts(job: FineTuneJob, last: LastStart | None) -> list[str]:
    """Return the requests of alerts that the job waits for and no run has answered."""
    if job.spec.triggers is None or not job.spec.triggers.alerts:
        return []
    return [one for one in open_runs(job) if alert_began(one) and not covered(one, last)]


def rested(job: FineTuneJob, last: LastStart | None, at: datetime) -> datetime:
    """Return `at`, or the end of the cooldown when that is later."""
    if last is None or job.spec.triggers is None:
        return at
    return max(at, last.at + parse_duration(job.spec.triggers.cooldown))


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
        return [] if _made_already(job) else [NextRun(at=now, cause="First")]
    changed = last.fingerprint != fingerprint(job.spec)
    return [NextRun(at=now, cause="Changed")] if changed else []


def _made_already(job: FineTuneJob) -> bool:
    """Tell whether the champion is what the spec asks for, as of a job that was restored."""
    champion = job.status.champion
    return champion is not None and champion.fingerprint == fingerprint(job.spec)


def _by_request(
    job: FineTuneJob, last: LastStart | None, now: datetime, alerts_from: datetime
) -> Iterator[NextRun]:
    for request in open_runs(job):
        if alert_began(request) is None:
            yield NextRun(at=now, cause="Requested", request=request)
    for request in waiting_alerts(job, last):
        at = max(rested(job, last, now), alerts_from)
        yield NextRun(at=at, cause="Alert", request=request)


def _by_schedule(job: FineTuneJob, last: LastStart | None, now: datetime) -> list[NextRun]:
    triggers = job.spec.triggers
    if triggers is None or triggers.schedule is None:
        return []
    since = last.at if last else past(job.metadata.creation_timestamp or now, now)
    tick = tick_after(triggers.schedule, since)
    return [NextRun(at=rested(job, last, tick), cause="Schedule")]
