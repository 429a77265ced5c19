"""Where one run stands: what `status` of a Workflow holds, in memory."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from nexus_local.workflows.names import exit_node_name
from nexus_local.workflows.nodes import Node, NodeTable, NodeType, Phase, stamp

COMPLETED_LABEL = "workflows.argoproj.io/completed"
PHASE_LABEL = "workflows.argoproj.io/phase"


@dataclass(slots=True)
class RunState:
    """One run; `phase` is None until it was looked at for the first time."""

    workflow: str
    nodes: NodeTable
    phase: Phase | None = None
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def from_manifest(cls, workflow: Mapping[str, Any]) -> "RunState":
        """Read the state back from a Workflow; raises KeyError or ValueError when it is damaged."""
        name, status = workflow["metadata"]["name"], workflow.get("status") or {}
        nodes = (Node.from_manifest(node) for node in (status.get("nodes") or {}).values())
        moments = {
            field: datetime.fromisoformat(status[shown])
            for field, shown in (("started_at", "startedAt"), ("finished_at", "finishedAt"))
            if status.get(shown)
        }
        phase = Phase(status["phase"]) if status.get("phase") else None
        return cls(name, NodeTable(name, nodes), phase, status.get("message", ""), **moments)

    def copy(self) -> "RunState":
        """Return a state that can change without this one changing."""
        nodes = []
        for node in self.nodes:
            twin = copy(node)
            twin.children = list(node.children)
            nodes.append(twin)
        return replace(self, nodes=NodeTable(self.workflow, nodes))

    def finish(self, phase: Phase, message: str, now: datetime) -> None:
        """End the run."""
        self.phase, self.message = phase, message
        self.started_at = self.started_at or now
        self.finished_at = now

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.phase is not None and self.phase.completed

    def in_exit_handler(self, node: Node) -> bool:
        """Whether a node belongs to the exit handler, which outlives deadline and Stop."""
        root = exit_node_name(self.workflow)
        return node.name == root or node.name.startswith((f"{root}.", f"{root}("))

    def active_pods(self) -> list[Node]:
        """Return the pods that have not ended."""
        return [
            node for node in self.nodes if node.type is NodeType.POD and not node.phase.fulfilled
        ]

    def deadline(self, spec: Mapping[str, Any]) -> datetime | None:
        """Return when `spec.activeDeadlineSeconds` runs out."""
        seconds = spec.get("activeDeadlineSeconds")
        if seconds is None or self.started_at is None:
            return None
        return self.started_at + timedelta(seconds=seconds)

    def status(self) -> dict[str, Any]:
        """Return what changes in `status` while the run goes on."""
        shown: dict[str, Any] = {
            "phase": str(self.phase or ""),
            "message": self.message,
            "progress": self.nodes.progress(),
            "nodes": self.nodes.manifest(),
        }
        if self.started_at:
            shown["startedAt"] = stamp(self.started_at)
        if self.finished_at:
            shown["finishedAt"] = stamp(self.finished_at)
            shown["conditions"] = [{"type": "Completed", "status": "True"}]
        return shown

    def labels(self) -> dict[str, str]:
        """Return the labels that say where the run stands."""
        done = "true" if self.finished else "false"
        return {COMPLETED_LABEL: done, PHASE_LABEL: str(self.phase or "")}
