"""The nodes of a run: what `status.nodes` of a Workflow holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from nexus_local.workflows.names import display_name, node_id
from nexus_local.workflows.progress import NOTHING_DONE, complete, summed


class Phase(StrEnum):
    """Where a node or a workflow stands, in Argo's words."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ERROR = "Error"
    SKIPPED = "Skipped"
    OMITTED = "Omitted"

    @property
    def bad(self) -> bool:
        """Failed or Error."""
        return self in {Phase.FAILED, Phase.ERROR}

    @property
    def completed(self) -> bool:
        """Ended after running."""
        return self.bad or self is Phase.SUCCEEDED

    @property
    def fulfilled(self) -> bool:
        """Ended, or never to run."""
        return self.completed or self in {Phase.SKIPPED, Phase.OMITTED}


class NodeType(StrEnum):
    """What a node stands for."""

    POD = "Pod"
    DAG = "DAG"
    RETRY = "Retry"
    TASK_GROUP = "TaskGroup"
    SKIPPED = "Skipped"


@dataclass(slots=True)
class Node:
    """One node; field names in camelCase are those of Argo's NodeStatus."""

    id: str
    name: str
    type: NodeType
    phase: Phase
    display_name: str = ""
    template_name: str = ""
    template_ref: dict[str, Any] | None = None
    template_scope: str = ""
    boundary_id: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: str = ""
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    children: list[str] = field(default_factory=list)
    outbound_nodes: list[str] = field(default_factory=list)
    node_flag: dict[str, bool] | None = None

    @property
    def retried(self) -> bool:
        """Whether this is one attempt below a Retry node."""
        return bool((self.node_flag or {}).get("retried"))

    @property
    def duration_seconds(self) -> float:
        """How long it ran; 0 until it ended."""
        if self.finished_at is None or self.started_at is None:
            return 0.0
        return (self.finished_at - self.started_at).total_seconds()

    def mark(self, phase: Phase, now: datetime, message: str | None = None) -> None:
        """Move to `phase`; a fulfilled phase stamps the end once."""
        self.phase = phase
        if message is not None:
            self.message = message
        if phase.fulfilled and self.finished_at is None:
            self.finished_at = now

    def manifest(self) -> dict[str, Any]:
        """Return the node as it stands in `status.nodes`; empty fields are left out."""
        shown: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if value is None or value in ("", []):
                continue
            shown[STATUS_NAMES[part.name]] = (
                stamp(value) if isinstance(value, datetime) else plain(value)
            )
        return shown

    @classmethod
    def from_manifest(cls, shown: Mapping[str, Any]) -> "Node":
        """Read a node back; raises KeyError or ValueError when it is not one."""
        values = {name: shown[key] for name, key in STATUS_NAMES.items() if key in shown}
        for moment in ("started_at", "finished_at"):
            if moment in values:
                values[moment] = datetime.fromisoformat(values[moment])
        values |= {"type": NodeType(values["type"]), "phase": Phase(values["phase"])}
        return cls(**values)


STATUS_NAMES = {
    "id": "id",
    "name": "name",
    "type": "type",
    "phase": "phase",
    "display_name": "displayName",
    "template_name": "templateName",
    "template_ref": "templateRef",
    "template_scope": "templateScope",
    "boundary_id": "boundaryID",
    "message": "message",
    "started_at": "startedAt",
    "finished_at": "finishedAt",
    "progress": "progress",
    "inputs": "inputs",
    "outputs": "outputs",
    "children": "children",
    "outbound_nodes": "outboundNodes",
    "node_flag": "nodeFlag",
}


def stamp(moment: datetime) -> str:
    """Write a moment as Kubernetes does: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(value: Any) -> Any:
    """Return the value with enumerations as plain text and containers copied."""
    match value:
        case StrEnum():
            return str(value)
        case dict():
            return {key: plain(entry) for key, entry in value.items()}
        case list():
            return [plain(entry) for entry in value]
        case _:
            return value


class NodeTable:
    """All nodes of one run by id, with look-up by name."""

    def __init__(self, workflow: str, nodes: Iterable[Node] = ()) -> None:
        self.workflow = workflow
        self._nodes = {node.id: node for node in nodes}

    def __iter__(self) -> Any:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, key: str) -> Node:
        return self._nodes[key]

    def get(self, key: str) -> Node | None:
        """Return the node with this id, if it is there."""
        return self._nodes.get(key)

    def named(self, name: str) -> Node | None:
        """Return the node with this name, if it is there."""
        return self._nodes.get(node_id(self.workflow, name))

    def add(self, name: str, kind: NodeType, phase: Phase, now: datetime, **more: Any) -> Node:
        """Create a node that is not there yet; its id and display name follow from its name."""
        boundary = self.get(more.get("boundary_id", ""))
        node = Node(node_id(self.workflow, name), name, kind, phase, started_at=now, **more)
        node.display_name = display_name(name, boundary.name if boundary else None)
        if phase.fulfilled:
            node.finished_at = now
        if kind is NodeType.POD:
            node.progress = NOTHING_DONE
        self._nodes[node.id] = node
        return node

    def connect(self, parent: Node, child_name: str) -> None:
        """Make a node, which may not exist yet, a child of `parent`."""
        child = node_id(self.workflow, child_name)
        if child not in parent.children:
            parent.children.append(child)

    def attempts(self, retry: Node) -> list[Node]:
        """Return the attempts below a Retry node, first to last."""
        return [self._nodes[child] for child in retry.children if child in self._nodes]

    def progress(self) -> str:
        """Return `done/total` over the pods, as Argo counts it."""
        return summed(
            complete(node.progress)
            if node.phase in {Phase.SUCCEEDED, Phase.SKIPPED}
            else node.progress
            for node in self
            if node.type is NodeType.POD
        )

    def manifest(self) -> dict[str, Any]:
        """Return `status.nodes`."""
        return {key: node.manifest() for key, node in self._nodes.items()}
