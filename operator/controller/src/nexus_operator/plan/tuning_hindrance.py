"""Why a FineTuneJob cannot be run here."""

from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.servingmodel import ServingModel
from nexus_api.source import BucketSource, PrefixOutsideNamespace
from nexus_operator.plan.model import Seen
from nexus_operator.plan.production import champion_address, served_by, serves_champion
from nexus_operator.plan.teardown import NO_WORKFLOWS
from nexus_operator.plan.tuning_recovery import RECOVERING
from nexus_operator.plan.tuning_schedule import BadSchedule, tick_after
from nexus_operator.settings import Settings
from nexus_operator.status.failure import Failure
from nexus_operator.status.finetunejob import SUSPENDED

NO_MODEL = "ServingModelMissing"

UNREADABLE_MODEL = "ServingModelUnreadable"

NOT_EVALUATED = "EngineNotEvaluated"

NOT_SERVED = "ChampionNotServed"

PASSING = frozenset(
    {"Waiting", NO_WORKFLOWS, NO_MODEL, UNREADABLE_MODEL, NOT_EVALUATED, NOT_SERVED, RECOVERING}
)
"""Hindrances that go away without a change of the job."""

_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def hindrance(job: FineTuneJob, seen: Seen, settings: Settings) -> Failure | None:
    """Return why no run may start."""
    if "Workflow" in seen.missing:
        message = "Argo Workflows is not installed in the cluster, and runs are run by it"
        return Failure(NO_WORKFLOWS, message)
    found = (
        next(_wrong_spec(job, settings), None)
        or _missing_model(job, seen)
        or _unfit_model(job, seen, settings)
    )
    if found is None and job.spec.suspend:
        return Failure(SUSPENDED, "Runs are suspended; set spec.suspend to false to go on")
    return found


def _wrong_spec(job: FineTuneJob, settings: Settings) -> Iterator[Failure]:
    spec = job.spec
    sources = {"data.files": spec.data.files, "data.curated": spec.data.curated}
    for field, source in sources.items():
        if source is not None:
            yield from _wrong_source(job, field, source, settings)
    if spec.lora.profile not in settings.profiles:
        offered = ", ".join(sorted(settings.profiles))
        yield Failure(
            "UnknownProfile",
            f"spec.lora.profile names {spec.lora.profile!r}, which this platform does not have "
            f"(it has {offered})",
        )
    if spec.triggers is not None and spec.triggers.schedule is not None:
        yield from _wrong_schedule(spec.triggers.schedule)


def _wrong_source(
    job: FineTuneJob, field: str, source: BucketSource, settings: Settings
) -> Iterator[Failure]:
    if source.bucket and job.metadata.namespace != settings.platform_namespace:
        yield Failure(
            "BucketNotOffered",
            f"spec.{field}.bucket names {source.bucket!r}, and runs are made in "
            f"{settings.platform_namespace}, where no Secret of {job.metadata.namespace} can be "
            "read: make the job there, or leave bucket and secretRef out and use the platform's "
            "bucket",
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


def _unfit_model(job: FineTuneJob, seen: Seen, settings: Settings) -> Failure | None:
    try:
        model = served_by(job, seen)
    except ValidationError:
        named = job.spec.promotion.serving_model_ref
        name = named.name if named else ""
        message = f"ServingModel {name} cannot be read by this release; its own status says why"
        return Failure(UNREADABLE_MODEL, message)
    found = _not_evaluated(job, model, settings)
    if found is None and model is not None and _releases_by_itself(job):
        found = _not_served(job, model)
    return found


def notice(job: FineTuneJob, seen: Seen) -> Failure | None:
    """Return what is amiss with a job that nothing hinders, and that only a person may judge.

    Who promotes by hand may be about to write the line, or serve the versions elsewhere.
    """
    model = served_by(job, seen)
    return _not_served(job, model) if model is not None else None


def _releases_by_itself(job: FineTuneJob) -> bool:
    return job.spec.promotion.mode == "Auto" and job.spec.promotion.pinned_version is None


def _not_served(job: FineTuneJob, model: ServingModel) -> Failure | None:
    """Return why no version is served once it is released.

    Production is then the bare base, so the first run that passes moves the champion, and the gate
    of every later one has measured against another unit than that: the registry refuses its move.
    """
    if serves_champion(job, model):
        return None
    line = f"{{name: tuned, uri: {champion_address(job)}}}"
    message = (
        f"ServingModel {model.metadata.name} does not name what the job releases: no version would "
        "be served, and runs would be compared with the base alone. Add to its "
        f"spec.model.adapters: {line}; until the first release it answers without it"
    )
    if _releases_by_itself(job):
        message += ". Or let a person promote: spec.promotion.mode Manual"
    return Failure(NOT_SERVED, message)


def _not_evaluated(
    job: FineTuneJob, model: ServingModel | None, settings: Settings
) -> Failure | None:
    """Return why a candidate could not be measured, or served, once it is trained."""
    engine = model.spec.engine() if model else "llamacpp"
    if model is None or engine == "llamacpp":
        return None
    runtime, rank = model.spec.runtime, job.spec.lora.r
    problem = ""
    if not settings.images.evaluator:
        problem = (
            f"is served by {engine}, and this platform has no image that measures through it: "
            "whoever runs it sets images.evaluator of the chart"
        )
    elif runtime.profile not in settings.profiles:
        problem = f"names the profile {runtime.profile!r}, which this platform does not have"
    elif rank > runtime.max_lora_rank:
        problem = (
            f"takes adapters up to rank {runtime.max_lora_rank}, and spec.lora.r is {rank}: lower "
            "it, or raise the model's spec.runtime.maxLoraRank"
        )
    return (
        Failure(NOT_EVALUATED, f"ServingModel {model.metadata.name} {problem}") if problem else None
    )
