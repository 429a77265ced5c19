"""What `{{workflow...}}` and `{{tasks...}}` stand for at a moment of a run."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from nexus_local.workflows.errors import WorkflowError
from nexus_local.workflows.items import aggregate
from nexus_local.workflows.names import compact_json, pod_name
from nexus_local.workflows.nodes import Node, NodeTable, NodeType, Phase, stamp
from nexus_local.workflows.program import Program
from nexus_local.workflows.substitution import fill_text, text_of


def workflow_values(program: Program) -> dict[str, str]:
    """Return the references that stay the same for the whole run."""
    spec, metadata = program.spec, program.metadata
    parameters = (spec.get("arguments") or {}).get("parameters") or []
    values = {
        "workflow.name": program.name,
        "workflow.namespace": program.namespace,
        "workflow.uid": program.uid,
        "workflow.mainEntrypoint": spec.get("entrypoint", ""),
        "workflow.serviceAccountName": spec.get("serviceAccountName", ""),
        "workflow.creationTimestamp": metadata.get("creationTimestamp", ""),
        "workflow.creationTimestamp.RFC3339": metadata.get("creationTimestamp", ""),
        "workflow.parameters": compact_json(parameters),
        "workflow.parameters.json": compact_json(parameters),
    }
    if spec.get("priority") is not None:
        values["workflow.priority"] = str(spec["priority"])
    for parameter in parameters:
        if parameter.get("value") is not None:
            values[f"workflow.parameters.{parameter['name']}"] = text_of(parameter["value"])
    for kind in ("labels", "annotations"):
        entries = metadata.get(kind) or {}
        values |= {f"workflow.{kind}.{key}": str(value) for key, value in entries.items()}
    return values


def status_values(phase: Phase, started: datetime | None, now: datetime) -> dict[str, str]:
    """Return the references that change while the run goes on."""
    seconds = (now - started).total_seconds() if started else 0.0
    return {"workflow.status": str(phase), "workflow.duration": f"{seconds:f}"}


def failures_value(workflow: str, nodes: Iterable[Node]) -> dict[str, str]:
    """Return `{{workflow.failures}}`, which only an exit handler may read: quoted JSON."""
    failed = [
        {
            "displayName": node.display_name,
            "message": node.message,
            "templateName": node.template_name,
            "phase": str(node.phase),
            "podName": pod_name(workflow, node.name, node.template_name),
            "finishedAt": stamp(node.finished_at) if node.finished_at else None,
        }
        for node in nodes
        if node.phase.bad
    ]
    return {"workflow.failures": json.dumps(compact_json(failed))}


def filled_inputs(
    template: Mapping[str, Any], arguments: Mapping[str, str], values: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return a template's inputs with what it was given, else with its own values or defaults.

    Raises WorkflowError for one that has neither.
    """
    filled = []
    for parameter in (template.get("inputs") or {}).get("parameters") or ():
        name = parameter["name"]
        given = arguments.get(name)
        if given is None:
            own = parameter.get("value", parameter.get("default"))
            if own is None:
                raise WorkflowError(f"inputs.parameters.{name} was not supplied")
            given = fill_text(text_of(own), values)
        filled.append({"name": name, "value": given})
    return {"parameters": filled} if filled else None


def input_values(inputs: Mapping[str, Any] | None) -> dict[str, str]:
    """Return `{{inputs.parameters.x}}` for the filled-in inputs of a template."""
    parameters = (inputs or {}).get("parameters") or []
    return {
        f"inputs.parameters.{parameter['name']}": parameter["value"] for parameter in parameters
    } | {"inputs.parameters": compact_json(parameters)}


def task_values(nodes: NodeTable, task: str, node: Node, declared: Iterable[str]) -> dict[str, str]:
    """Return `{{tasks.<task>...}}` for a task that has ended.

    declared: the output parameters of its template, empty texts when the task was skipped.
    """
    prefix = f"tasks.{task}"
    values: dict[str, str] = {}
    if node.type is NodeType.TASK_GROUP:
        values |= aggregate(prefix, (nodes[child] for child in node.children))
    if node.phase in {Phase.SKIPPED, Phase.OMITTED} and node.outputs is None:
        values |= {f"{prefix}.outputs.parameters.{name}": "" for name in declared}
    shown = node
    if node.type is NodeType.RETRY and nodes.attempts(node):
        shown = nodes.attempts(node)[-1]
    values |= {f"{prefix}.id": shown.id, f"{prefix}.status": str(shown.phase)}
    if shown.started_at:
        values[f"{prefix}.startedAt"] = stamp(shown.started_at)
    if shown.finished_at:
        values[f"{prefix}.finishedAt"] = stamp(shown.finished_at)
    outputs = shown.outputs or {}
    if "exitCode" in outputs:
        values[f"{prefix}.exitCode"] = outputs["exitCode"]
    for parameter in outputs.get("parameters") or ():
        if "value" in parameter:
            values[f"{prefix}.outputs.parameters.{parameter['name']}"] = parameter["value"]
    return values
