"""The tasks of one DAG node: who may start, who is skipped, when the DAG has ended."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from nexus_local.workflows import conditions
from nexus_local.workflows.check_dag import ancestors_of
from nexus_local.workflows.depends import read_depends
from nexus_local.workflows.errors import BadExpression, Unresolved, WorkflowError
from nexus_local.workflows.graph import dag_phase, outbound
from nexus_local.workflows.items import Branch, branches, group_phase, parse_items, results_of
from nexus_local.workflows.names import node_id
from nexus_local.workflows.nodes import Node, NodeTable, NodeType, Phase
from nexus_local.workflows.program import Program
from nexus_local.workflows.references import fans_out, parameter_names
from nexus_local.workflows.situation import Call
from nexus_local.workflows.substitution import fill, fill_text, text_of
from nexus_local.workflows.values import task_values


class Walker(Protocol):
    """What a DAG asks of the walk that it is part of."""

    program: Program
    nodes: NodeTable
    now: datetime

    def visit(self, call: Call) -> Node | None:
        """Bring one called template forward; None when its turn has not come."""

    def busy(self, node: Node | None) -> bool:
        """Whether a node waits for a pod that runs."""

    def shut(self, *, exiting: bool) -> bool:
        """Whether the workflow is being shut down."""


class Dag:
    """One look at a DAG node that runs."""

    def __init__(
        self,
        walk: Walker,
        call: Call,
        node: Node,
        scope: str,
        template: Mapping[str, Any],
        values: Mapping[str, str],
    ) -> None:
        self.walk = walk
        self.call = call
        self.nodes = walk.nodes
        self.node = node
        self.scope = scope
        self.template = template
        self.values = values
        self.tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        self.depends = {name: read_depends(task) for name, task in self.tasks.items()}
        self.visited: set[str] = set()

    def run(self) -> None:
        """Start what may start, then end the DAG when all of it has ended."""
        needed = {name for depends in self.depends.values() for name in depends.tasks}
        chosen = (self.template["dag"].get("target") or "").split()
        targets = chosen or sorted(self.tasks.keys() - needed)
        for name in targets:
            self._task(name)
        if self.walk.shut(exiting=self.call.exiting):
            phase = Phase.FAILED
        else:
            fail_fast = self.template["dag"].get("failFast")
            ids = [node_id(self.nodes.workflow, self._name(target)) for target in targets]
            phase = dag_phase(self.nodes, self.node, ids, fail_fast=fail_fast is not False)
        if phase is Phase.RUNNING:
            return
        self.node.outbound_nodes = [
            leaf
            for target in targets
            if (node := self._node(target)) is not None
            for leaf in outbound(self.nodes, node)
        ]
        if phase is Phase.SUCCEEDED:
            self.node.outputs = self._outputs()
        self.node.mark(phase, self.walk.now)

    def _name(self, task: str) -> str:
        return f"{self.node.name}.{task}"

    def _node(self, task: str) -> Node | None:
        return self.nodes.named(self._name(task))

    def _task(self, name: str) -> None:
        if name in self.visited:
            return
        self.visited.add(name)
        node, task = self._node(name), self.tasks[name]
        if node is not None and (node.phase.fulfilled or self.walk.busy(node)):
            return
        for other in self.depends[name].tasks:
            self._task(other)
        if node is None and not self._due(name):
            return
        try:
            visible = self._scope(ancestors_of(name, self.depends))
            if fans_out(task):
                self._fan_out(name, task, visible)
            else:
                self._branch(name, task, Branch(name, visible), None)
        except WorkflowError as error:
            self._skip(name, name, Phase.ERROR, str(error))

    def _due(self, name: str) -> bool:
        """Whether a task that has no node yet may run; one that never will is omitted."""
        depends = self.depends[name]
        ended: dict[str, Node] = {}
        for other in depends.tasks:
            node = self._node(other)
            if node is None or not node.phase.fulfilled:
                return False
            ended[other] = node
        children = {
            other: [self.nodes[child] for child in node.children]
            for other, node in ended.items()
            if node.type is NodeType.TASK_GROUP
        }
        if depends.holds(lambda other: results_of(ended[other], children.get(other, ()))):
            return True
        self._skip(name, name, Phase.OMITTED, "omitted: depends condition not met")
        return False

    def _fan_out(self, name: str, task: Mapping[str, Any], visible: Mapping[str, str]) -> None:
        group = self._node(name)
        found = branches(name, self._items(task, visible), visible)
        if not found:
            self._skip(name, name, Phase.SKIPPED, "Skipped, empty params")
            return
        if group is None:
            group = self._add(name, name, NodeType.TASK_GROUP, Phase.RUNNING, "")
        for branch in found:
            if not self._branch(name, task, branch, group):
                break
        ended = [self._node(branch.name) for branch in found]
        done = [node for node in ended if node is not None and node.phase.fulfilled]
        if len(done) == len(found):
            group.mark(group_phase(done), self.walk.now)

    def _items(self, task: Mapping[str, Any], values: Mapping[str, str]) -> list[Any]:
        if task.get("withItems"):
            items: list[Any] = fill(task["withItems"], values)
            return items
        if self._ruled_out(task.get("when") or "", values):
            try:
                return parse_items(fill_text(task["withParam"], self.values, keep=("tasks",)))
            except WorkflowError:
                return []  # its items may not exist, and nothing of it will run
        return parse_items(fill_text(task["withParam"], values))

    def _ruled_out(self, when: str, values: Mapping[str, str]) -> bool:
        """Whether `when` is false for every item; one that looks at the item cannot say."""
        try:
            filled = fill_text(when, values, keep=("item",))
            return bool(filled) and not conditions.holds(filled)
        except BadExpression:
            return False

    def _branch(
        self, name: str, task: Mapping[str, Any], branch: Branch, group: Node | None
    ) -> bool:
        """Bring one task, or one branch of a fan-out, forward; False when its turn has not come."""
        node = self._node(branch.name)
        if node is not None and (node.phase.fulfilled or self.walk.busy(node)):
            return True
        values = branch.values
        if node is None:
            try:
                when = fill_text(task.get("when") or "", values)
                proceed = not when or conditions.holds(when)
            except BadExpression as error:
                self._skip(name, branch.name, Phase.ERROR, str(error), group)
                return True
            if not proceed:
                message = f"when '{when}' evaluated false"
                self._skip(name, branch.name, Phase.SKIPPED, message, group)
                return True
        given = (task.get("arguments") or {}).get("parameters") or ()
        arguments = {entry["name"]: fill_text(text_of(entry["value"]), values) for entry in given}
        if self.walk.visit(self._called(branch.name, task, arguments)) is None:
            return False
        if node is None:
            self._connect(name, branch.name, group)
        return True

    def _called(self, name: str, task: Mapping[str, Any], arguments: Mapping[str, str]) -> Call:
        holder: dict[str, Any] = {}
        if task.get("templateRef"):
            holder["templateRef"] = dict(task["templateRef"])
        else:
            holder["template"] = task["template"]
        return Call(
            self._name(name),
            self.scope,
            holder,
            arguments,
            boundary=self.node.id,
            exiting=self.call.exiting,
        )

    def _skip(
        self, task: str, name: str, phase: Phase, message: str, group: Node | None = None
    ) -> None:
        node = self._node(name)
        if node is None:
            self._add(task, name, NodeType.SKIPPED, phase, message, group)
        else:
            node.mark(phase, self.walk.now, message)

    def _add(
        self,
        task: str,
        name: str,
        kind: NodeType,
        phase: Phase,
        message: str,
        group: Node | None = None,
    ) -> Node:
        call = self._called(name, self.tasks[task], {})
        node = self.nodes.add(
            call.name,
            kind,
            phase,
            self.walk.now,
            boundary_id=self.node.id,
            template_name=call.holder.get("template", ""),
            template_ref=call.holder.get("templateRef"),
            template_scope=self.scope,
            message=message,
            node_flag={},
        )
        self._connect(task, name, group)
        return node

    def _connect(self, task: str, name: str, group: Node | None) -> None:
        """Hang a new node below its fan-out, else below what its task waited for."""
        depends = self.depends[task].tasks
        if group is not None:
            self.nodes.connect(group, self._name(name))
        elif not depends:
            self.nodes.connect(self.node, self._name(name))
        for other in () if group is not None else depends:
            parent = self._node(other)
            for leaf in outbound(self.nodes, parent) if parent else ():
                self.nodes.connect(self.nodes[leaf], self._name(name))

    def _scope(self, tasks: Iterable[str]) -> dict[str, str]:
        """Return what may be named after these tasks: the template's inputs and their outputs."""
        values = dict(self.values)
        for other in sorted(tasks):
            node = self._node(other)
            if node is not None:
                template = self.walk.program.find(self.scope, self.tasks[other])[1]
                declared = parameter_names(template, "outputs")
                values |= task_values(self.nodes, other, node, declared)
        return values

    def _outputs(self) -> dict[str, Any] | None:
        declared = (self.template.get("outputs") or {}).get("parameters") or ()
        values = self._scope(self.tasks) if declared else {}
        parameters = []
        for parameter in declared:
            source = parameter["valueFrom"]
            try:
                value = fill_text(source["parameter"], values)
            except Unresolved:
                if source.get("default") is None:
                    raise
                value = text_of(source["default"])
            parameters.append({"name": parameter["name"], "value": value})
        return {"parameters": parameters} if parameters else None
