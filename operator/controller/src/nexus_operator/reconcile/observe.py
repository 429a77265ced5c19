"""What a plan has to see, read from the cluster."""

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import (
    API_VERSION,
    INDEX_LABEL,
    MODEL_LABEL,
    NAMESPACE_LABEL,
    Manifest,
)
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.cache import claim_name
from nexus_operator.build.guards import GUARDS, guard_name
from nexus_operator.cluster.protocol import Cluster, Ref
from nexus_operator.plan.model import Seen
from nexus_operator.settings import Settings

WORKFLOW = ("argoproj.io/v1alpha1", "Workflow")
DEPLOYMENT = ("apps/v1", "Deployment")
SERVICE = ("v1", "Service")
POD = ("v1", "Pod")
CLAIM = ("v1", "PersistentVolumeClaim")


async def observe_ragindex(cluster: Cluster, index: RagIndex, settings: Settings) -> Seen:
    """Read the Workflows of an index."""
    labels = {INDEX_LABEL: index.metadata.name, NAMESPACE_LABEL: index.metadata.namespace}
    runs = await cluster.list(*WORKFLOW, namespace=settings.platform_namespace, labels=labels)
    return Seen(children=_with_kind(runs, *WORKFLOW))


async def observe_servingmodel(cluster: Cluster, model: ServingModel, settings: Settings) -> Seen:
    """Read the Deployments, pods, Service and guards of a model, and the index that it names."""
    meta = model.metadata
    labels = {MODEL_LABEL: meta.name}
    deployments = await cluster.list(*DEPLOYMENT, namespace=meta.namespace, labels=labels)
    pods = await cluster.list(*POD, namespace=meta.namespace, labels=labels)
    named = [Ref(*SERVICE, meta.namespace, meta.name)]
    if settings.on_kubernetes:
        guards = [Ref(api, kind, meta.namespace, guard_name(model)) for kind, api in GUARDS.items()]
        named += [*guards, Ref(*CLAIM, meta.namespace, claim_name(model))]
    found = [(ref, await cluster.get(ref)) for ref in named]
    references: list[Manifest] = []
    if model.spec.knowledge is not None:
        name = model.spec.knowledge.rag_index_ref.name
        index = await cluster.get(Ref(API_VERSION, "RagIndex", meta.namespace, name))
        references = [index] if index is not None else []
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
    )


async def observe_finetunejob(_cluster: Cluster, _job: FineTuneJob, _settings: Settings) -> Seen:
    """Read nothing: a FineTuneJob has no children yet."""
    return Seen()


def _with_kind(objects: list[Manifest], api_version: str, kind: str) -> tuple[Manifest, ...]:
    """Name the kind of each object: a list from an API server leaves it out of its items."""
    return tuple({**one, "apiVersion": api_version, "kind": kind} for one in objects)
