"""Workflows of an index: a sync, and the teardown that goes before its deletion."""

from nexus_api.meta import INDEX_LABEL, Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.build.metadata import labels
from nexus_operator.build.run import run_of
from nexus_operator.settings import Settings
from nexus_operator.status.runs import ATTEMPT, CAUSE

SYNC_TEMPLATE = "nexus-sync"
TEARDOWN_TEMPLATE = "nexus-teardown"


def sync_workflow(
    index: RagIndex,
    settings: Settings,
    *,
    name: str,
    request: str,
    cause: str,
    attempt: int,
    spec_json: str,
) -> Manifest:
    """Build one sync run; `spec_json` is the spec with all defaults as JSON."""
    parameters = {
        "namespace": index.metadata.namespace,
        "index": index.metadata.name,
        "uid": index.metadata.uid,
        "request": request,
        "settings": spec_json,
        "fingerprint": index.spec.fingerprint(),
    }
    if index.spec.source.secret_ref is not None:
        parameters["sourceSecret"] = index.spec.source.secret_ref.name
    workflow = _workflow(index, settings, name, SYNC_TEMPLATE, parameters, attempt)
    workflow["metadata"]["annotations"][CAUSE] = cause
    workflow["spec"]["parallelism"] = index.spec.sync.parallelism
    return workflow


def teardown_workflow(index: RagIndex, settings: Settings, *, name: str, attempt: int) -> Manifest:
    """Build one try to remove (or, by policy, to retain) what the index has outside Kubernetes."""
    parameters = {
        "namespace": index.metadata.namespace,
        "index": index.metadata.name,
        "uid": index.metadata.uid,
        "policy": index.spec.retention.deletion_policy,
    }
    return _workflow(index, settings, name, TEARDOWN_TEMPLATE, parameters, attempt)


def _workflow(
    index: RagIndex,
    settings: Settings,
    name: str,
    template: str,
    parameters: dict[str, str],
    attempt: int,
) -> Manifest:
    workflow = run_of(
        template,
        settings,
        name=name,
        labels=labels(index, owner_label=INDEX_LABEL, component="pipelines"),
        parameters={**parameters, "image": settings.images.pipelines},
    )
    workflow["metadata"]["annotations"] = {ATTEMPT: str(attempt)}
    return workflow
