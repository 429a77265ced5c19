"""A Workflow that runs one of our templates: what the runs of all kinds share."""

from collections.abc import Mapping

from nexus_api.meta import Manifest
from nexus_operator.settings import Settings


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
