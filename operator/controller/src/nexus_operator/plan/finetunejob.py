"""The plan of a FineTuneJob: it is admitted and kept; running it comes with a later release."""

from datetime import datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding, merge, transitions


def plan_finetunejob(job: FineTuneJob, _seen: Seen, _settings: Settings, now: datetime) -> Plan:
    """Say that the job is valid and waits for a release that runs it."""
    old = [one.manifest() for one in job.status.conditions]
    message = "The job is valid and kept; running it comes with a later release of the platform."
    finding = Finding("Ready", False, "NotOffered", message)
    generation = job.metadata.generation
    conditions = merge(old, [finding], generation=generation, now=now)
    return Plan(
        status={"observedGeneration": generation, "conditions": conditions},
        events=transitions(old, conditions),
    )
