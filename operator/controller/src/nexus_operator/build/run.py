"""A Workflow that runs one of our templates: what the runs of all kinds share."""

from collections.abc import Mapping

from nexus_api.meta import Manifest, Resource
from nexus_operator.naming import child_name, short_hash
from nexus_operator.settings import Settings


def run_name(resource: Resource, what: str, *, after: str) -> str:
    """Return the name of the run that follows the run `after` (empty for the first).

    A controller with an old view makes a name that is taken, never a second run.
    """
    meta = resource.metadata
    link = short_hash(meta.namespace, meta.name, meta.uid, what, after)
    return child_name(f"{meta.namespace}-{meta.name}", what, link)


def run_of(
    template: str,
    settings: Settings,
    *,
    name: str,
    labels: Mapping[str, str],
    parameters: Mapping[str, str],
) -> Manifest:
    """Build a Workflow in the platform's namespace that runs a template with its parameters."""
    reference: Manifest = {"name": template}
    if settings.workflow_template_kind == "ClusterWorkflowTemplate":
        reference["clusterScope"] = True
    given = [{"name": key, "value": value} for key, value in parameters.items()]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name,
            "namespace": settings.platform_namespace,
            "labels": dict(labels),
        },
        "spec": {"workflowTemplateRef": reference, "arguments": {"parameters": given}},
    }


def shutdown(workflow: Manifest) -> Manifest:
    """Build what is to be applied to a running Workflow so that it ends, its pods killed."""
    metadata = workflow["metadata"]
    named = {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": named,
        "spec": {"shutdown": "Terminate"},
    }
