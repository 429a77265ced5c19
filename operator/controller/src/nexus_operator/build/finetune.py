"""Workflows of a FineTuneJob: a run, a move of its champion, a count, and its end."""

import json

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import JOB_LABEL, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.metadata import labels
from nexus_operator.build.run import run_name, run_of
from nexus_operator.naming import child_name, short_hash
from nexus_operator.settings import ResourceProfile, Settings
from nexus_operator.status.runs import ATTEMPT, CAUSE
from nexus_operator.status.tuning_runs import (
    COUNT_TEMPLATE,
    RELEASE_TEMPLATE,
    RUN_TEMPLATE,
    TEARDOWN_TEMPLATE,
)

_GRACE_HOURS = 1
"""What a try of `train` has beside lora.maxHours: to load the model and to write its adapter."""

_OTHER_HOURS = 12
"""What a run has beside its training: the other steps, waits, and what a killed try lost."""

_TRIES = 2
"""How often maxHours may be used up by tries that were killed, before the whole run ends."""


def tuning_run_name(job: FineTuneJob, *, after: str) -> str:
    """Return the name of the run that follows the run `after` (empty for the first)."""
    return run_name(job, "finetune", after=after)


def release_name(job: FineTuneJob, request: str) -> str:
    """Return the name of the move that answers a request: asked twice, it is made once."""
    meta = job.metadata
    link = short_hash(meta.namespace, meta.name, meta.uid, "release", request)
    return child_name(f"{meta.namespace}-{meta.name}", "release", link)


def count_name(job: FineTuneJob, number: int) -> str:
    """Return the name of a count of new examples, by which it is made once."""
    meta = job.metadata
    link = short_hash(meta.namespace, meta.name, meta.uid, "count", str(number))
    return child_name(f"{meta.namespace}-{meta.name}", "count", link)


def finetune_workflow(
    job: FineTuneJob,
    settings: Settings,
    *,
    name: str,
    request: str,
    cause: str,
    spec_json: str,
    fingerprint: str,
    production: str,
    blocked: str,
    model: ServingModel | None,
) -> Manifest:
    """Build one run.

    spec_json: the spec with all defaults.  production: what serves now, as a releasable unit in
    JSON, empty for nothing.  blocked: why a passed gate is to ask a person, empty if it is not.
    model: whose engine answers in the evaluation, None for llama.cpp.
    """
    hours = job.spec.lora.max_hours
    promotion = job.spec.promotion
    profile = settings.profiles[job.spec.lora.profile]
    parameters = {
        "request": request,
        "settings": spec_json,
        "fingerprint": fingerprint,
        "production": production,
        "blocked": blocked,
        "promotion": promotion.mode if promotion.pinned_version is None else "Manual",
        "trainPod": _pod_patch(profile),
        "trainGpus": str(profile.gpus()),
        "trainSeconds": str((hours + _GRACE_HOURS) * 3600),
        "image": settings.images.pipelines,
        "trainer": settings.images.trainer,
        **_evaluation(job, model, settings),
    }
    parameters |= source_secrets(job)
    workflow = _workflow(job, settings, name, RUN_TEMPLATE, parameters)
    workflow["metadata"]["annotations"] = {CAUSE: cause}
    workflow["spec"]["activeDeadlineSeconds"] = (_TRIES * hours + _OTHER_HOURS) * 3600
    return workflow


def source_secrets(job: FineTuneJob) -> dict[str, str]:
    """Return the parameters that name the Secrets of the job's own buckets."""
    data = job.spec.data
    named = {"filesSecret": data.files, "curatedSecret": data.curated}
    return {
        name: source.secret_ref.name
        for name, source in named.items()
        if source is not None and source.secret_ref is not None
    }


def release_workflow(
    job: FineTuneJob,
    settings: Settings,
    *,
    request: str,
    action: str,
    version: str,
    by: str,
    spec_json: str,
) -> Manifest:
    """Build one move of the champion, or a look for it: `action` is release, rollback, recover."""
    parameters = {
        "settings": spec_json,
        "action": action,
        "version": version,
        "by": by,
        "request": request,
        "image": settings.images.pipelines,
    }
    return _workflow(job, settings, release_name(job, request), RELEASE_TEMPLATE, parameters)


def count_workflow(
    job: FineTuneJob,
    settings: Settings,
    *,
    number: int,
    after: str,
    spec_json: str,
    production: str,
) -> Manifest:
    """Build a count of new examples; `after` is the newest run, empty for none."""
    parameters = {
        "settings": spec_json,
        "production": production,
        "number": str(number),
        "after": after,
        "image": settings.images.pipelines,
    }
    parameters |= source_secrets(job)
    return _workflow(job, settings, count_name(job, number), COUNT_TEMPLATE, parameters)


def job_teardown_workflow(
    job: FineTuneJob, settings: Settings, *, name: str, attempt: int
) -> Manifest:
    """Build one try to remove what the job's runs left in the work store."""
    image = {"image": settings.images.pipelines}
    workflow = _workflow(job, settings, name, TEARDOWN_TEMPLATE, image)
    workflow["metadata"]["annotations"] = {ATTEMPT: str(attempt)}
    return workflow


def _evaluation(job: FineTuneJob, model: ServingModel | None, settings: Settings) -> dict[str, str]:
    """Return what evaluates: an image that has the engine that serves, on the nodes that serve.

    llama.cpp is part of the one that trains.
    """
    if model is None or model.spec.engine() == "llamacpp":
        profile = settings.profiles[job.spec.lora.profile]
        return {"evaluator": settings.images.trainer, "evaluatePod": _pod_patch(profile)}
    profile = settings.profiles[model.spec.runtime.profile]
    return {
        "evaluator": settings.images.evaluator,
        "evaluatePod": _pod_patch(profile),
        "evaluateGpus": str(profile.gpus()),
    }


def _pod_patch(profile: ResourceProfile) -> str:
    """Return what a profile asks of a node, as a patch of the pods that train and evaluate."""
    patch: Manifest = {}
    if resources := profile.resources():
        patch["containers"] = [{"name": "main", "resources": resources}]
    if profile.node_selector:
        patch["nodeSelector"] = dict(profile.node_selector)
    if profile.tolerations:
        patch["tolerations"] = [dict(one) for one in profile.tolerations]
    if profile.runtime_class:
        patch["runtimeClassName"] = profile.runtime_class
    return json.dumps(patch, sort_keys=True, separators=(",", ":"))


def _workflow(
    job: FineTuneJob, settings: Settings, name: str, template: str, own: dict[str, str]
) -> Manifest:
    meta = job.metadata
    return run_of(
        template,
        settings,
        name=name,
        labels=labels(job, owner_label=JOB_LABEL, component="pipelines"),
        parameters={"namespace": meta.namespace, "job": meta.name, "uid": job.lineage, **own},
    )
