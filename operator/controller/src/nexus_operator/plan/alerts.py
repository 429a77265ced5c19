"""The plan of what all FineTuneJobs share: the listener on alerts."""

from collections.abc import Iterable

from nexus_api.finetunejob import FineTuneJob
from nexus_operator.build.alerts import Alerted, alert_sensor, alert_source, picking
from nexus_operator.plan.listener import plan_listener
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.settings import Settings

MOST_BYTES = 16384
"""All templates together: a Sensor's pod gets its specification as one environment variable, of
which Linux takes 128 KiB, and each template stands in it twice, escaped and in base64."""


def plan_alerts(jobs: Iterable[FineTuneJob], settings: Settings, seen: Seen) -> Plan:
    """Decide on EventSource and Sensor.  Pure: same inputs, same plan; there is no status."""
    off = not settings.events.alerts
    told = () if off else alerted(jobs)
    wanted = (alert_source(settings), alert_sensor(settings, told)) if told else ()
    return plan_listener(wanted, seen, off=off)


def alerted(jobs: Iterable[FineTuneJob]) -> tuple[Alerted, ...]:
    """Return the first jobs, by name, that alerts may start and for which is room."""
    told: list[Alerted] = []
    room = MOST_BYTES
    for one in sorted(_wanting(jobs)):
        size = _size(one)
        if size <= room:
            told.append(one)
            room -= size
    return tuple(told)


def template_bytes(job: FineTuneJob) -> int:
    """Return how much room a job takes in the listener, in bytes; 0 without alerts."""
    return sum(_size(one) for one in _wanting([job]))


def _wanting(jobs: Iterable[FineTuneJob]) -> Iterable[Alerted]:
    for job in jobs:
        triggers = job.spec.triggers
        if triggers is not None and triggers.alerts and not job.deleting:
            matchers = tuple(tuple(sorted(one.matchers.items())) for one in triggers.alerts)
            yield Alerted(job.metadata.namespace, job.metadata.name, matchers)


def _size(job: Alerted) -> int:
    return len(picking(job, ".Input.body.alerts"))
