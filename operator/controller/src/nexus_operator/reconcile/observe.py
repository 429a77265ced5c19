"""What a plan has to see, read from the cluster."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from nexus_api.adapter_loading import REPORT_PATH, LoadedAdapters
from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import (
    API_VERSION,
    INDEX_LABEL,
    JOB_LABEL,
    MODEL_LABEL,
    NAMESPACE_LABEL,
    Manifest,
)
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_api.training_progress import TrainingProgress
from nexus_operator.build.alerts import NAME as ALERTS
from nexus_operator.build.cache import claim_name
from nexus_operator.build.events import EVENT_SOURCE, SENSOR
from nexus_operator.build.events import NAME as LISTENER
from nexus_operator.build.finetune import tuning_run_name
from nexus_operator.build.guards import GUARDS, guard_name
from nexus_operator.build.loading import LOADER_PORT, adapters_name, is_loader, loads_adapters
from nexus_operator.build.monitoring import POD_MONITOR
from nexus_operator.build.workflow import SYNC_TEMPLATE
from nexus_operator.cluster.errors import ClusterError, Forbidden
from nexus_operator.cluster.protocol import Cluster, Ref
from nexus_operator.objects import labels_of, name_of
from nexus_operator.plan.adapters import named_jobs
from nexus_operator.plan.model import Seen
from nexus_operator.plan.tuning_triage import index_to_look_at
from nexus_operator.settings import Settings
from nexus_operator.status.pods import over
from nexus_operator.status.tuning_runs import RUN_TEMPLATE, training_pod

WORKFLOW = ("argoproj.io/v1alpha1", "Workflow")
DEPLOYMENT = ("apps/v1", "Deployment")
SERVICE = ("v1", "Service")
POD = ("v1", "Pod")
CONFIG_MAP = ("v1", "ConfigMap")
CLAIM = ("v1", "PersistentVolumeClaim")

LOG_LINES = 20
"""Lines of a training's log among which the last word on its progress is."""

log = logging.getLogger(__name__)


async def observe_ragindex(cluster: Cluster, index: RagIndex, settings: Settings) -> Seen:
    """Read the Workflows of an index, and the Sensor that tells it of objects.

    While it goes, pods of its syncs are read too.
    """
    labels = {INDEX_LABEL: index.metadata.name, NAMESPACE_LABEL: index.metadata.namespace}
    runs = await cluster.list(*WORKFLOW, namespace=settings.platform_namespace, labels=labels)
    told = settings.events.source != "none"
    listener = await _half(cluster, settings, SENSOR, LISTENER) if told else ()
    pods = await _pods(cluster, settings, SYNC_TEMPLATE, labels) if index.deleting else ()
    return Seen(children=(*_with_kind(runs, *WORKFLOW), *pods), references=listener)


async def _pods(
    cluster: Cluster, settings: Settings, template: str, labels: Mapping[str, str]
) -> tuple[Manifest, ...]:
    """Read the pods of runs of a template, which carry the labels that its Workflows do.

    No watch tells of them.  They are asked for by the template's name, which none of ours has: so
    the answer is the cluster's own, and not that of a view.
    """
    asked = {"app.kubernetes.io/name": template, NAMESPACE_LABEL: labels[NAMESPACE_LABEL]}
    found = await cluster.list(*POD, namespace=settings.platform_namespace, labels=asked)
    return _with_kind([one for one in found if labels.items() <= labels_of(one).items()], *POD)


async def observe_platform(cluster: Cluster, settings: Settings) -> Seen:
    """Read the listener on the bucket."""
    source = await _half(cluster, settings, EVENT_SOURCE, LISTENER)
    return Seen(children=(*source, *await _half(cluster, settings, SENSOR, LISTENER)))


async def observe_alerts(cluster: Cluster, settings: Settings) -> Seen:
    """Read the listener on alerts."""
    source = await _half(cluster, settings, EVENT_SOURCE, ALERTS)
    return Seen(children=(*source, *await _half(cluster, settings, SENSOR, ALERTS)))


async def _half(
    cluster: Cluster, settings: Settings, kind: tuple[str, str], name: str
) -> tuple[Manifest, ...]:
    """Return one half of a listener, if it is there."""
    found = await cluster.get(Ref(*kind, settings.platform_namespace, name))
    return _with_kind([found] if found is not None else [], *kind)


async def observe_servingmodel(cluster: Cluster, model: ServingModel, settings: Settings) -> Seen:
    """Read the Deployments, pods, Service and guards of a model, and what its spec names."""
    meta = model.metadata
    labels = {MODEL_LABEL: meta.name}
    deployments = await cluster.list(*DEPLOYMENT, namespace=meta.namespace, labels=labels)
    pods = await cluster.list(*POD, namespace=meta.namespace, labels=labels)
    named = [Ref(*SERVICE, meta.namespace, meta.name)]
    if settings.on_kubernetes:
        guards = [Ref(api, kind, meta.namespace, guard_name(model)) for kind, api in GUARDS.items()]
        named += [*guards, Ref(*CLAIM, meta.namespace, claim_name(model))]
    templates = [(one.get("spec") or {}).get("template") or {} for one in deployments]
    # Where vLLM is not offered, ConfigMaps are nothing that the operator may look at.
    loading = loads_adapters(model) or any(map(is_loader, templates))
    if loading and "vllm" in settings.engines:
        named.append(Ref(*CONFIG_MAP, meta.namespace, adapters_name(model)))
    found = [(ref, await cluster.get(ref)) for ref in named]
    withheld = frozenset[str]()
    if settings.scrape is not None:
        monitor = Ref(*POD_MONITOR, meta.namespace, guard_name(model))
        try:
            found.append((monitor, await cluster.get(monitor)))
        except Forbidden:
            withheld = frozenset({monitor.kind})
    references: list[Manifest] = []
    if model.spec.knowledge is not None:
        name = model.spec.knowledge.rag_index_ref.name
        index = await cluster.get(Ref(API_VERSION, "RagIndex", meta.namespace, name))
        references = list(_with_kind([index] if index is not None else [], API_VERSION, "RagIndex"))
    for job in sorted(named_jobs(model.spec.manifest(), meta.namespace)):
        found_job = await cluster.get(Ref(API_VERSION, "FineTuneJob", meta.namespace, job))
        references += _with_kind([found_job] if found_job else [], API_VERSION, "FineTuneJob")
    return Seen(
        children=(
            *_with_kind(deployments, *DEPLOYMENT),
            *_with_kind(pods, *POD),
            *(
                {**one, "apiVersion": ref.api_version, "kind": ref.kind}
                for ref, one in found
                if one
            ),
        ),
        references=tuple(references),
        withheld=withheld,
        loaded=await _loaded(cluster, pods),
    )


async def _loaded(cluster: Cluster, pods: Iterable[Manifest]) -> Mapping[str, LoadedAdapters]:
    """Ask pods which adapters they have; one that does not tell is left out."""

    async def asked(pod: Manifest, address: str) -> tuple[str, LoadedAdapters] | None:
        host = f"[{address}]" if ":" in address else address
        try:
            answer = await cluster.ask(f"http://{host}:{LOADER_PORT}{REPORT_PATH}")
            return name_of(pod), LoadedAdapters.model_validate_json(answer)
        except (ClusterError, ValidationError) as problem:
            log.debug("which adapters %s has cannot be read: %s", name_of(pod), problem)
            return None

    going = (pod for pod in pods if not over(pod))
    addresses = ((pod, str((pod.get("status") or {}).get("podIP") or "")) for pod in going)
    questions = [asked(pod, address) for pod, address in addresses if address and is_loader(pod)]
    return dict(one for one in await asyncio.gather(*questions) if one is not None)


async def observe_finetunejob(cluster: Cluster, job: FineTuneJob, settings: Settings) -> Seen:
    """Read the Workflows of a job, the ServingModels that it names, and what tells it of alerts.

    The index of a model is read while an alert asks for a run, and pods of runs while the job goes.
    """
    meta, spec = job.metadata, job.spec
    labels = {JOB_LABEL: meta.name, NAMESPACE_LABEL: meta.namespace}
    runs = await cluster.list(*WORKFLOW, namespace=settings.platform_namespace, labels=labels)
    pods: tuple[Manifest, ...] = ()
    if job.deleting:
        runs += await _unheard(cluster, job, settings, runs)
        pods = await _pods(cluster, settings, RUN_TEMPLATE, labels)
    feedback = spec.data.feedback
    named = [spec.promotion.serving_model_ref, feedback.serving_model_ref if feedback else None]
    refs = {
        Ref(API_VERSION, "ServingModel", meta.namespace, one.name)
        for one in named
        if one is not None
    }
    found = [await cluster.get(ref) for ref in sorted(refs)]
    models = _with_kind([one for one in found if one], API_VERSION, "ServingModel")
    told = settings.events.alerts and spec.triggers is not None and spec.triggers.alerts
    listener = await _half(cluster, settings, SENSOR, ALERTS) if told else ()
    index = index_to_look_at(job, Seen(references=models))
    indexes = [await cluster.get(index)] if index is not None else []
    return Seen(
        children=(*_with_kind(runs, *WORKFLOW), *pods),
        references=(
            *models,
            *listener,
            *_with_kind([one for one in indexes if one], API_VERSION, "RagIndex"),
        ),
        training=await _training(cluster, runs, settings),
    )


async def _unheard(
    cluster: Cluster, job: FineTuneJob, settings: Settings, known: Iterable[Manifest]
) -> list[Manifest]:
    """Read the run of which no watch has told yet: made by a request whose answer got lost.

    Its job is going, and nobody would stop it afterwards.  It is the one that the status names, or
    the one after that.
    """
    last = job.status.last_run.name if job.status.last_run else ""
    names = {last, tuning_run_name(job, after=last)} - {"", *map(name_of, known)}
    refs = [Ref(*WORKFLOW, settings.platform_namespace, name) for name in sorted(names)]
    found = [await cluster.get(ref) for ref in refs]
    return [one for one in found if one is not None]


async def _training(
    cluster: Cluster, runs: list[Manifest], settings: Settings
) -> Mapping[str, TrainingProgress]:
    """Read how far trainings are from what their pods printed; what cannot be read is left out."""
    found: dict[str, TrainingProgress] = {}
    for run in runs:
        pod = training_pod(run)
        if pod is None:
            continue
        ref = Ref(*POD, settings.platform_namespace, pod)
        try:
            text = await cluster.log(ref, container="main", lines=LOG_LINES)
        except ClusterError as problem:
            log.debug("how far %s is cannot be read: %s", name_of(run), problem)
            continue
        told = TrainingProgress.last_of(text.splitlines())
        if told is not None:
            found[name_of(run)] = told
    return found


def _with_kind(objects: list[Manifest], api_version: str, kind: str) -> tuple[Manifest, ...]:
    """Name the kind of each object: a list from an API server leaves it out of its items."""
    return tuple({**one, "apiVersion": api_version, "kind": kind} for one in objects)
