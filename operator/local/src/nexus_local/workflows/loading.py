"""From a Workflow object to a Program: its templates found, everything checked."""

from collections.abc import Mapping
from typing import Any

from nexus_local.workflows.check import check_object, check_program
from nexus_local.workflows.errors import InvalidWorkflow, Refused, Unsupported, WorkflowError
from nexus_local.workflows.program import (
    ARGO,
    Program,
    Reference,
    by_name,
    joined_spec,
    local_scope,
    missing,
    reference_of,
    references,
)
from nexus_operator.cluster.protocol import Cluster, Ref

MOST_SHOWN = 5  # problems in one message
Templates = dict[str, dict[str, Mapping[str, Any]]]


async def load(cluster: Cluster, workflow: Mapping[str, Any]) -> Program:
    """Read a Workflow that is about to start and everything that it refers to.

    Raises Unsupported, InvalidWorkflow or TemplateMissing; the text names every problem of the
    worst kind found, at most five.
    """
    namespace = workflow["metadata"]["namespace"]
    problems = check_object(workflow, "")
    spec = workflow["spec"]
    if spec.get("workflowTemplateRef"):
        reference = reference_of(spec["workflowTemplateRef"])
        template = await fetch(cluster, reference, namespace)
        problems += check_object(template, f"{reference.kind} {reference.name}: ")
        report(problems)
        spec = joined_spec(workflow, template)
    report(problems)
    scopes: Templates = {local_scope(workflow["metadata"]["name"]): by_name(spec.get("templates"))}
    waiting = list(references(spec.get("templates")))
    while waiting:
        reference = waiting.pop()
        if reference.scope not in scopes:
            template = await fetch(cluster, reference, namespace)
            report(check_object(template, f"{reference.kind} {reference.name}: "))
            found = template["spec"].get("templates")
            scopes[reference.scope] = dict(by_name(found))
            waiting += references(found)
    program = build(workflow, spec, scopes)
    report(check_program(program))
    return program


async def fetch(cluster: Cluster, reference: Reference, namespace: str) -> Mapping[str, Any]:
    """Return the object that a reference names; raises TemplateMissing."""
    place = "" if reference.cluster else namespace
    found = await cluster.get(Ref(ARGO, reference.kind, place, reference.name))
    if found is None:
        raise missing(reference, namespace)
    return found


def stored(workflow: Mapping[str, Any]) -> Program:
    """Return the Program of a Workflow that had started before a restart."""
    status = workflow.get("status") or {}
    spec = status.get("storedWorkflowTemplateSpec") or workflow["spec"]
    scopes: Templates = {local_scope(workflow["metadata"]["name"]): by_name(spec.get("templates"))}
    for key, template in (status.get("storedTemplates") or {}).items():
        scope, _, name = key.rpartition("/")
        scopes.setdefault(scope, {})[name] = template
    return build(workflow, spec, scopes)


def build(workflow: Mapping[str, Any], spec: Mapping[str, Any], scopes: Templates) -> Program:
    """Put a Program together."""
    metadata = workflow["metadata"]
    return Program(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata.get("uid", ""),
        metadata=metadata,
        spec=spec,
        scopes=scopes,
    )


def report(problems: list[WorkflowError]) -> None:
    """Raise the problems as one error: what Argo would refuse too comes before our own limits."""
    for kind in (InvalidWorkflow, Unsupported):
        found = list(dict.fromkeys(str(problem) for problem in problems if type(problem) is kind))
        if found:
            rest = len(found) - MOST_SHOWN
            more = f" (and {rest} more)" if rest > 0 else ""
            raise Refused("; ".join(found[:MOST_SHOWN]) + more, invalid=kind is InvalidWorkflow)
    if problems:
        raise problems[0]
