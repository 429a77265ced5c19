"""The end of a FineTuneJob: what its runs left in the work store goes, its versions stay."""

from datetime import datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import LINEAGE, Manifest
from nexus_operator.build.finetune import job_teardown_workflow
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.plan.teardown import FAILED, STOPPING, End, plan_end
from nexus_operator.settings import Settings
from nexus_operator.status.runs import template_of
from nexus_operator.status.tuning_runs import COUNT_TEMPLATE, RELEASE_TEMPLATE

_WRITE_NOTHING = frozenset({COUNT_TEMPLATE, RELEASE_TEMPLATE})
"""Templates whose steps leave nothing in the work store."""


def plan_tuning_teardown(job: FineTuneJob, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Decide what is left to do for a FineTuneJob that is being deleted."""

    def workflow(name: str, attempt: int) -> Manifest:
        return job_teardown_workflow(job, settings, name=name, attempt=attempt)

    end = End(
        resource=job,
        noun="job",
        intro="The job is being deleted; its registered versions stay.",
        uid=job.lineage,
        left="what its runs chose and wrote may be left behind",
        empty=not _ever_ran(job, seen),
        lets_runs_end=True,
        workflow=workflow,
    )
    return plan_end(end, seen, now)


def _ever_ran(job: FineTuneJob, seen: Seen) -> bool:
    """Tell whether a run of it may have written something.

    A status may be lost, and a Workflow is gone once it was stopped: then the note of a champion,
    or what the end itself has said before, tells of it.
    """
    if job.status.last_run is not None or LINEAGE in job.metadata.annotations:
        return True
    ending = {(one.type, one.reason) for one in job.status.conditions}
    if ending & {("Ready", STOPPING), ("Ready", FAILED)}:
        return True
    return any(template_of(one) not in _WRITE_NOTHING for one in seen.of_kind("Workflow"))
