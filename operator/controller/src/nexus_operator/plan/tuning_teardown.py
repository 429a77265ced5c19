"""The end of a FineTuneJob."""

from datetime import datetime, timedelta

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import FINALIZER
from nexus_operator.plan.model import Plan, Seen, doomed
from nexus_operator.status.conditions import Finding, merge

LOOK_AGAIN = timedelta(seconds=5)


def plan_tuning_teardown(job: FineTuneJob, seen: Seen, now: datetime) -> Plan:
    """Stop what runs, then let the job go; registered versions stay, somebody may serve them."""
    left = doomed(seen.of_kind("Workflow"))
    gone = not seen.of_kind("Workflow")
    old = [one.manifest() for one in job.status.conditions]
    message = "The job is being deleted; its registered versions stay."
    finding = Finding("Ready", False, "Stopping", message)
    generation = job.metadata.generation
    return Plan(
        status={
            "observedGeneration": generation,
            "conditions": merge(old, [finding], generation=generation, now=now),
        },
        delete=left,
        remove_finalizer=gone and FINALIZER in job.metadata.finalizers,
        requeue_after=None if gone else LOOK_AGAIN,
    )
