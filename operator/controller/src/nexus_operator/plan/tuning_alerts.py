"""Whether the alerts that a FineTuneJob waits for can reach it."""

from collections.abc import Iterator
from datetime import timedelta

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_operator.build.alerts import NAME as ALERTS
from nexus_operator.build.alerts import PATH, PORT
from nexus_operator.build.events import EVENT_SOURCE, SENSOR
from nexus_operator.plan.alerts import MOST_BYTES, template_bytes
from nexus_operator.plan.looks import LOOK_FOR_KINDS, SETTLED_LOOK
from nexus_operator.plan.model import Seen
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding
from nexus_operator.status.notices import not_started

NOTIFIED = "Notified"
LOOK_AGAIN = {
    "Starting": timedelta(seconds=30),
    "ArgoEventsMissing": LOOK_FOR_KINDS,
    "TooManyAlerts": SETTLED_LOOK,
}
"""How soon to look whether a reason has gone, by reason; nothing of the job changes with it."""

_INSTEAD = "people and the schedule start runs, alerts do not"


def notified(job: FineTuneJob, seen: Seen, settings: Settings) -> Finding | None:
    """Return the condition Notified, None for a job that waits for no alerts."""
    if job.spec.triggers is None or not job.spec.triggers.alerts:
        return None
    if not settings.on_kubernetes:
        message = "An alert posted to /hooks/alerts of the gateway starts a run."
        return Finding(NOTIFIED, True, "Listening", message)
    if not settings.events.alerts:
        message = f"The platform does not listen to alerts (events.alerts false): {_INSTEAD}."
        return Finding(NOTIFIED, False, "AlertsOff", message)
    if seen.missing & {EVENT_SOURCE[1], SENSOR[1]}:
        message = f"Argo Events is not installed in the cluster: {_INSTEAD}."
        return Finding(NOTIFIED, False, "ArgoEventsMissing", message)
    return _by_sensor(job, seen.reference(SENSOR[1], ALERTS), settings)


def _by_sensor(job: FineTuneJob, sensor: Manifest | None, settings: Settings) -> Finding:
    if sensor is not None and (why := not_started(sensor)):
        return Finding(NOTIFIED, False, "Starting", f"{why}: {_INSTEAD}.")
    told = dict(_told(sensor)) if sensor is not None else {}
    own = (job.metadata.namespace, job.metadata.name)
    if own in told:
        service = f"{ALERTS}-eventsource-svc.{settings.platform_namespace}.svc"
        message = f"An alert posted to http://{service}:{PORT}{PATH} starts a run."
        return Finding(NOTIFIED, True, "Listening", message)
    taken = sum(size for other, size in told.items() if other < own)
    if taken + template_bytes(job) > MOST_BYTES:
        message = (
            f"The matchers of all jobs come to more than the listener can hold, and those of jobs "
            f"earlier in the alphabet go first: {_INSTEAD}. Use fewer or shorter matchers."
        )
        return Finding(NOTIFIED, False, "TooManyAlerts", message)
    message = f"The listener does not know the job yet: {_INSTEAD}."
    return Finding(NOTIFIED, False, "Starting", message)


def _told(sensor: Manifest) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the jobs that a listener knows, and the bytes of each one's template."""
    for trigger in (sensor.get("spec") or {}).get("triggers") or []:
        asking = trigger["template"]["k8s"]
        resource = asking["source"]["resource"]["metadata"]
        template = asking["parameters"][-1]["src"].get("dataTemplate") or ""
        yield (str(resource.get("namespace")), str(resource.get("name"))), len(template)
