"""Why a FineTuneJob cannot be run here."""

from collections.abc import Iterator
from datetime import UTC, datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_api.source import BucketSource, PrefixOutsideNamespace
from nexus_operator.plan.model import Seen
from nexus_operator.plan.teardown import NO_WORKFLOWS
from nexus_operator.plan.tuning_recovery import RECOVERING
from nexus_operator.plan.tuning_schedule import BadSchedule, tick_after
from nexus_operator.settings import Settings
from nexus_operator.status.failure import Failure
from nexus_operator.status.finetunejob import SUSPENDED

NO_MODEL = "ServingModelMissing"

PASSING = frozenset({"Waiting", NO_WORKFLOWS, NO_MODEL, RECOVERING})
"""Hindrances that go away without a change of the job."""

_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def hindrance(job: FineTuneJob, seen: Seen, settings: Settings) -> Failure | None:
    """Return why no run may start."""
    if "Workflow" in seen.missing:
        message = "Argo Workflows is not installed in the cluster, and runs are run by it"
        return Failure(NO_WORKFLOWS, message)
    found = next(_wrong_spec(job, settings), None) or _missing_model(job, seen)
    if found is None and job.spec.suspend:
        return Failure(SUSPENDED, "Runs are suspended; set spec.suspend to false to go on")
    return found


def _wrong_spec(job: FineTuneJob, settings: Settings) -> Iterator[Failure]:
    spec = job.spec
    sources = {"data.files": spec.data.files, "data.curated": spec.data.curated}
    for field, source in sources.items():
        if source is not None:
            yield from _wrong_source(job, field, source)
    if spec.lora.profile not in settings.profiles:
        offered = ", ".join(sorted(settings.profiles))
        yield Failure(
            "UnknownProfile",
            f"spec.lora.profile names {spec.lora.profile!r}, which this platform does not have "
            f"(it has {offered})",
        )
    if spec.triggers is None:
        return
    if spec.triggers.new_data is not None:
        yield Failure(
            "NewDataNotOffered",
            "spec.triggers.newData is not offered yet, since nothing counts new examples: leave "
            "it out and name a schedule or alerts",
        )
    if spec.triggers.schedule is not None:
        yield from _wrong_schedule(spec.triggers.schedule)


def _wrong_source(job: FineTuneJob, field: str, source: BucketSource) -> Iterator[Failure]:
    if source.bucket:
        yield Failure(
            "BucketNotOffered",
            f"spec.{field}.bucket names {source.bucket!r}: this platform reads its own bucket "
            "only so far, leave bucket and secretRef out",
        )
        return
    try:
        source.key_prefix(job.metadata.namespace, job.metadata.name)
    except PrefixOutsideNamespace:
        yield Failure(
            "PrefixOutsideNamespace",
            f"spec.{field}.prefix {source.prefix!r} must lie under '{job.metadata.namespace}/'",
        )


def _wrong_schedule(schedule: str) -> Iterator[Failure]:
    try:
        tick_after(schedule, _ANY_DAY)
    except BadSchedule as problem:
        yield Failure("BadSchedule", str(problem))


def _missing_model(job: FineTuneJob, seen: Seen) -> Failure | None:
    feedback, promotion = job.spec.data.feedback, job.spec.promotion.serving_model_ref
    named = {
        "promotion": promotion,
        "data.feedback": feedback.serving_model_ref if feedback else None,
    }
    for field, reference in named.items():
        if reference is not None and seen.reference("ServingModel", reference.name) is None:
            return Failure(
                NO_MODEL,
                f"spec.{field}.servingModelRef names {reference.name!r}, and there is no such "
                f"ServingModel in {job.metadata.namespace}",
            )
    return None
