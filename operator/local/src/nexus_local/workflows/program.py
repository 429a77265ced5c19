"""What a Workflow runs: its spec joined with its WorkflowTemplate, and every template it names.

A Program is fixed when the Workflow starts and stored in its status (`storedWorkflowTemplateSpec`,
`storedTemplates`, as Argo does), so that a template edited in mid-run changes nothing and a
restart goes on with what was begun.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_local.workflows.errors import InvalidWorkflow, TemplateMissing

ARGO = "argoproj.io/v1alpha1"
MERGED_BY_NAME = frozenset({"templates", "parameters", "volumes", "imagePullSecrets"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A template of a WorkflowTemplate (or, cluster-wide, of a ClusterWorkflowTemplate)."""

    name: str
    cluster: bool

    @property
    def kind(self) -> str:
        """The kind of the object."""
        return "ClusterWorkflowTemplate" if self.cluster else "WorkflowTemplate"

    @property
    def scope(self) -> str:
        """The scope that its templates name each other in, as `status` spells it."""
        return f"{'cluster' if self.cluster else 'namespaced'}/{self.name}"


@dataclass(frozen=True, slots=True)
class Program:
    """A Workflow ready to run.

    scopes: scope -> template name -> template; the Workflow's own scope is `local/<name>`.
    """

    name: str
    namespace: str
    uid: str
    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    scopes: Mapping[str, Mapping[str, Mapping[str, Any]]]

    @property
    def scope(self) -> str:
        """The Workflow's own scope."""
        return local_scope(self.name)

    def find(self, scope: str, holder: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return (scope, template) for what a task names; raises InvalidWorkflow."""
        reference = holder.get("templateRef")
        name = holder.get("template", "")
        if reference:
            scope, name = reference_of(reference).scope, reference.get("template", "")
        template = self.scopes.get(scope, {}).get(name)
        if template is None:
            raise InvalidWorkflow(f"template {name!r}", f"is not among the templates of {scope}")
        return scope, template

    def stored_templates(self) -> dict[str, Any]:
        """Return `status.storedTemplates`: what other objects gave to this run."""
        return {
            f"{scope}/{name}": template
            for scope, templates in self.scopes.items()
            if scope != self.scope
            for name, template in templates.items()
        }


def local_scope(workflow: str) -> str:
    """Return the scope of a Workflow's own templates."""
    return f"local/{workflow}"


def reference_of(reference: Mapping[str, Any]) -> Reference:
    """Read a workflowTemplateRef or templateRef."""
    return Reference(str(reference.get("name", "")), bool(reference.get("clusterScope")))


def by_name(templates: Any) -> dict[str, Mapping[str, Any]]:
    """Return templates by their names."""
    return {template.get("name", ""): template for template in templates or ()}


def references(templates: Any) -> Iterator[Reference]:
    """Yield what the tasks of these templates refer to in other objects."""
    for template in templates or ():
        for task in (template.get("dag") or {}).get("tasks") or ():
            if task.get("templateRef"):
                yield reference_of(task["templateRef"])


def join(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a Workflow's spec over its WorkflowTemplate's: a strategic merge.

    Maps merge; templates, parameters and volumes merge by name; any other list or value of `over`
    replaces that of `under`. A parameter with a value of its own replaces the whole parameter.
    """
    joined = dict(under)
    for key, value in over.items():
        below = under.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            joined[key] = join(value, below)
        elif key in MERGED_BY_NAME and isinstance(value, list) and isinstance(below, list):
            mine = {entry.get("name"): entry for entry in value}
            names = dict.fromkeys([*mine, *(entry.get("name") for entry in below)])
            theirs = {entry.get("name"): entry for entry in below}
            joined[key] = [mine.get(name, theirs.get(name)) for name in names]
        else:
            joined[key] = value
    return joined


def joined_spec(workflow: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec that a Workflow with a workflowTemplateRef runs."""
    spec = workflow["spec"]
    if spec.get("templates"):
        raise InvalidWorkflow("spec.templates", "cannot be used beside spec.workflowTemplateRef")
    return join(spec, template.get("spec") or {})


def missing(reference: Reference, namespace: str) -> TemplateMissing:
    """Say that a referenced object does not exist."""
    return TemplateMissing(reference.kind, reference.name, "" if reference.cluster else namespace)
