"""The pod of a node, and what its end means for the node."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nexus_local.workflows import progress
from nexus_local.workflows.names import pod_name
from nexus_local.workflows.nodes import Node, Phase
from nexus_local.workflows.program import ARGO, Program
from nexus_local.workflows.runner import PodResult
from nexus_local.workflows.state import COMPLETED_LABEL
from nexus_local.workflows.substitution import text_of

WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
NODE_ID = "workflows.argoproj.io/node-id"
NODE_NAME = "workflows.argoproj.io/node-name"
MAIN = "main"
LONGEST_OUTPUT = 256 * 1024  # bytes of one output parameter, as on a cluster
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class Output:
    """An output parameter of a container template: a file that the container writes."""

    name: str
    path: str
    default: str | None


@dataclass(frozen=True, slots=True)
class PodOrder:
    """A pod to run for a node."""

    node_id: str
    manifest: dict[str, Any]
    outputs: tuple[Output, ...]


def pod_order(
    program: Program,
    node: Node,
    template: Mapping[str, Any],
    shared: Mapping[str, Any],
    seconds: int | None,
) -> PodOrder:
    """Build the pod of a node.

    template: filled in, no reference left; shared: likewise what the Workflow's spec gives to all
    its pods (volumes, podMetadata). seconds: its activeDeadlineSeconds, None for no limit.
    """
    container = template["container"]
    where = {"name": progress.VARIABLE, "value": progress.CONTAINER_PATH}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [{**container, "name": MAIN, "env": [*(container.get("env") or ()), where]}],
        "volumes": [
            *(shared.get("volumes") or ()),
            *(template.get("volumes") or ()),
        ],
    }
    if seconds is not None:
        spec["activeDeadlineSeconds"] = seconds
    owner = {
        "apiVersion": ARGO,
        "kind": "Workflow",
        "name": program.name,
        "uid": program.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": pod_name(program.name, node.name, str(template.get("name", ""))),
        "namespace": program.namespace,
        "labels": {
            **_extra(shared, template, "labels"),
            WORKFLOW_LABEL: program.name,
            COMPLETED_LABEL: "false",
        },
        "annotations": {
            **_extra(shared, template, "annotations"),
            NODE_ID: node.id,
            NODE_NAME: node.name,
        },
        "ownerReferences": [owner],
    }
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return PodOrder(node.id, manifest, outputs_of(template))


def _extra(shared: Mapping[str, Any], template: Mapping[str, Any], field: str) -> dict[str, str]:
    sources = (shared.get("podMetadata") or {}, template.get("metadata") or {})
    return {key: value for source in sources for key, value in (source.get(field) or {}).items()}


def outputs_of(template: Mapping[str, Any]) -> tuple[Output, ...]:
    """Return the output parameters of a container template."""
    found = []
    for parameter in (template.get("outputs") or {}).get("parameters") or ():
        source = parameter["valueFrom"]
        default = source.get("default")
        text = None if default is None else text_of(default)
        found.append(Output(parameter["name"], source["path"], text))
    return tuple(found)


def record(
    node: Node,
    outputs: tuple[Output, ...],
    result: PodResult,
    files: Mapping[str, str | None],
    now: datetime,
) -> None:
    """Write the end of a pod into its node.

    files: output name -> text of its file, None when the container wrote none.
    """
    phase, message = verdict(result)
    values = {
        output.name: output.default if files.get(output.name) is None else files[output.name]
        for output in outputs
    }
    absent = [output for output in outputs if values[output.name] is None]
    if phase is Phase.SUCCEEDED and absent:
        phase = Phase.ERROR
        message = (
            f"the container ended well but did not write {absent[0].path}, "
            f"its output parameter {absent[0].name}"
        )
    shown: dict[str, Any] = {}
    if result.exit_code is not None:
        shown["exitCode"] = str(result.exit_code)
        written = [
            {"name": output.name, "value": (values[output.name] or "").removesuffix("\n")}
            | {"valueFrom": {"path": output.path}}
            for output in outputs
            if values[output.name] is not None
        ]
        if written:
            shown["parameters"] = written
    node.outputs = shown or None
    node.mark(phase, now, message)
    if phase is Phase.SUCCEEDED:
        node.progress = progress.complete(node.progress)


def verdict(result: PodResult) -> tuple[Phase, str]:
    """Return the phase and message of a node whose pod ended, as Argo words them."""
    if result.reason == "DeadlineExceeded":
        return Phase.FAILED, result.message or DEADLINE_MESSAGE
    if result.exit_code is None:
        why = f"{result.reason}: {result.message}" if result.message else result.reason
        return Phase.ERROR, f"Pod failed before {MAIN} container starts due to {why}"
    if result.exit_code == 0:
        return Phase.SUCCEEDED, ""
    message = f"{MAIN}: {result.reason or 'Error'} (exit code {result.exit_code})"
    return Phase.FAILED, f"{message}: {result.message}" if result.message else message
