"""The pure core: from a Program and the state of its nodes to what happens next.

`advance` does no I/O and asks no clock. It creates the nodes that may start now, ends those whose
children have ended, and says which pods should run, which should stop and when to look again.
Calling it again with what it returned changes nothing, so any event may call it, and a restart is
one more call: a pod that should run and does not is simply ordered again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from nexus_local.workflows.dag import Dag
from nexus_local.workflows.errors import WorkflowError
from nexus_local.workflows.fields import check_patch
from nexus_local.workflows.names import exit_node_name, pod_name
from nexus_local.workflows.nodes import Node, NodeType, Phase, stamp
from nexus_local.workflows.pods import pod_order
from nexus_local.workflows.program import Program
from nexus_local.workflows.retry import GiveUp, WaitUntil, attempt_values, next_attempt
from nexus_local.workflows.situation import Call, Decision, Situation
from nexus_local.workflows.state import RunState
from nexus_local.workflows.substitution import fill, fill_text, text_of, whole_number
from nexus_local.workflows.values import (
    failures_value,
    filled_inputs,
    input_values,
    status_values,
    workflow_values,
)

STOPPED = "Step exceeded its deadline"


def advance(program: Program, state: RunState, situation: Situation) -> Decision:
    """Decide what happens next in a run that has started and not finished."""
    return Walk(program, state.copy(), situation).decide()


class Walk:
    """One look at a run; changes its own copy of the state."""

    def __init__(self, program: Program, state: RunState, situation: Situation) -> None:
        self.program = program
        self.state = state
        self.nodes = state.nodes
        self.now = situation.now
        self.situation = situation
        self.decision = Decision(state)
        self.deadline = state.deadline(program.spec)
        self.values = workflow_values(program) | status_values(
            state.phase or Phase.RUNNING, state.started_at, self.now
        )

    def decide(self) -> Decision:
        """Walk from the entry point to the exit handler."""
        self._stop_what_must_end()
        if not self.situation.suspended:
            self._run()
        if self.deadline and not self.state.finished and self.now < self.deadline:
            self.wake(self.deadline)
        return self.decision

    def wake(self, moment: datetime) -> None:
        """Ask to be called again at `moment`."""
        earliest = self.decision.wake_at
        self.decision.wake_at = moment if earliest is None else min(earliest, moment)

    def late(self, *, exiting: bool) -> bool:
        """Whether the workflow's deadline is over; it does not bind the exit handler."""
        return self.deadline is not None and self.now >= self.deadline and not exiting

    def shut(self, *, exiting: bool) -> bool:
        """Whether the workflow is being shut down; Stop lets the exit handler run."""
        how = self.situation.shutdown
        return how == "Terminate" or (how == "Stop" and not exiting)

    def busy(self, node: Node | None) -> bool:
        """Whether a node waits for a pod that runs, so that there is nothing to decide."""
        if node is not None and node.type is NodeType.RETRY:
            attempts = self.nodes.attempts(node)
            node = attempts[-1] if attempts else None
        return node is not None and node.id in self.situation.running and not node.phase.fulfilled

    def full(self, boundary: str) -> bool:
        """Whether the parallelism of the workflow or of the enclosing template is used up."""
        most = self.program.spec.get("parallelism")
        if most is not None and len(self.state.active_pods()) >= most:
            return True
        holder = self.nodes.get(boundary)
        if holder is None:
            return False
        scope = holder.template_scope or self.program.scope
        template = self._template_of(holder, scope)
        most = template.get("parallelism")
        active = sum(
            node.boundary_id == boundary
            and node.type in {NodeType.POD, NodeType.DAG}
            and not node.phase.fulfilled
            for node in self.nodes
        )
        return most is not None and active >= most

    def _template_of(self, node: Node, scope: str) -> Mapping[str, Any]:
        holder = {"template": node.template_name, "templateRef": node.template_ref}
        return self.program.find(scope, holder)[1]

    def _stop_what_must_end(self) -> None:
        for node in self.state.active_pods():
            exiting = self.state.in_exit_handler(node)
            if self.shut(exiting=exiting):
                message = f"workflow shutdown with strategy:  {self.situation.shutdown}"
            elif self.late(exiting=exiting):
                message = STOPPED
            else:
                continue
            node.mark(Phase.FAILED, self.now, message)
            self.decision.stop.add(node.id)

    def _run(self) -> None:
        spec, scope = self.program.spec, self.program.scope
        given = (spec.get("arguments") or {}).get("parameters") or ()
        arguments = {entry["name"]: text_of(entry["value"]) for entry in given}
        entry = self.visit(
            Call(self.program.name, scope, {"template": spec["entrypoint"]}, arguments)
        )
        if entry is None or not entry.phase.fulfilled:
            return
        outcome = entry.phase if entry.phase.bad else Phase.SUCCEEDED
        message = entry.message
        if entry.phase.bad and self.situation.shutdown:
            message = f"Stopped with strategy '{self.situation.shutdown}'"
        elif outcome is Phase.SUCCEEDED:
            message = ""
        exit_name = exit_node_name(self.program.name)
        if spec.get("onExit") and (self.nodes.named(exit_name) or not self.shut(exiting=True)):
            self.values |= {"workflow.status": str(outcome)}
            self.values |= failures_value(self.program.name, list(self.nodes))
            holder = {"template": spec["onExit"]}
            flag = {"hooked": True}
            last = self.visit(Call(exit_name, scope, holder, arguments, flag=flag, exiting=True))
            if last is None or not last.phase.fulfilled:
                return
            if outcome is Phase.SUCCEEDED and last.phase.bad:
                outcome, message = last.phase, last.message
        self.state.finish(outcome, message, self.now)

    def visit(self, call: Call) -> Node | None:
        """Bring one called template forward; None when its turn has not come."""
        node = self.nodes.named(call.name)
        if node is not None and (node.phase.fulfilled or self.busy(node)):
            return node
        if node is None and self.full(call.boundary):
            return None
        try:
            scope, template = self.program.find(call.scope, call.holder)
            inputs = filled_inputs(template, call.arguments, self.values)
            values = self.values | input_values(inputs) | {"node.name": call.name}
            strategy = template.get("retryStrategy") or self.program.spec.get("retryStrategy")
            if strategy:
                node = node or self._add(call, NodeType.RETRY, Phase.RUNNING, inputs)
                return self._retry(call, node, scope, template, inputs, values, strategy)
            return self._execute(call, node, scope, template, inputs, values)
        except WorkflowError as error:
            return self.fail(call, str(error))

    def fail(self, call: Call, message: str) -> Node:
        """Put a node in Error, creating it when it is not there."""
        node = self.nodes.named(call.name)
        if node is None:
            return self._add(call, NodeType.SKIPPED, Phase.ERROR, None, message)
        node.mark(Phase.ERROR, self.now, message)
        return node

    def _add(
        self,
        call: Call,
        kind: NodeType,
        phase: Phase,
        inputs: dict[str, Any] | None,
        message: str = "",
    ) -> Node:
        more: dict[str, Any] = {
            "boundary_id": call.boundary,
            "template_name": call.holder.get("template", ""),
            "template_ref": call.holder.get("templateRef"),
            "template_scope": call.scope,
            "inputs": inputs,
            "message": message,
            "node_flag": call.flag,
        }
        return self.nodes.add(call.name, kind, phase, self.now, **more)

    def _retry(
        self,
        call: Call,
        parent: Node,
        scope: str,
        template: Mapping[str, Any],
        inputs: dict[str, Any] | None,
        values: Mapping[str, str],
        strategy: Mapping[str, Any],
    ) -> Node:
        attempts = self.nodes.attempts(parent)
        last = attempts[-1] if attempts else None
        if last is None or last.phase.bad:
            if last is not None and not self._goes_on(call, parent, fill(strategy, values)):
                return parent
            if self.full(call.boundary):
                return parent
        elif last.phase.fulfilled:
            parent.outputs = last.outputs
            parent.mark(Phase.SUCCEEDED, self.now, "")
            return parent
        current = None if last is None or last.phase.fulfilled else last
        number = len(attempts) - (current is not None)
        name = f"{call.name}({number})"
        local = attempt_values(attempts[:number])
        self.nodes.connect(parent, name)
        flag = {**(call.flag or {}), "retried": True}
        again = replace(call, name=name, flag=flag)
        try:
            child = self._execute(again, current, scope, template, inputs, {**values, **local})
        except WorkflowError as error:
            child = self.fail(again, str(error))
        if child.phase.fulfilled:
            self.wake(self.now)  # it ended without a pod; the next look decides about it
        return parent

    def _goes_on(self, call: Call, parent: Node, strategy: Mapping[str, Any]) -> bool:
        attempts = self.nodes.attempts(parent)
        last = attempts[-1]
        if self.shut(exiting=call.exiting):
            verdict: Any = GiveUp(f"Stopped with strategy '{self.situation.shutdown}'")
        elif self.deadline and self.late(exiting=call.exiting):
            verdict = GiveUp(f"retry exceeded workflow deadline {stamp(self.deadline)}")
        else:
            verdict = next_attempt(strategy, attempts, self.now)
        if isinstance(verdict, GiveUp):
            parent.outputs = last.outputs
            parent.mark(last.phase, self.now, verdict.message)
            return False
        if isinstance(verdict, WaitUntil):
            parent.message = verdict.message
            self.wake(verdict.moment)
            return False
        parent.message = ""
        return True

    def _execute(
        self,
        call: Call,
        node: Node | None,
        scope: str,
        template: Mapping[str, Any],
        inputs: dict[str, Any] | None,
        values: Mapping[str, str],
    ) -> Node:
        if "dag" in template:
            if node is None:
                node = self._add(call, NodeType.DAG, Phase.RUNNING, inputs)
            Dag(self, call, node, scope, template, values).run()
            return node
        if node is None:
            node = self._add(call, NodeType.POD, Phase.PENDING, inputs)
        seconds = self._pod_seconds(template, values, exiting=call.exiting)
        if self.shut(exiting=call.exiting):
            message = f"workflow shutdown with strategy: {self.situation.shutdown}"
            node.mark(Phase.FAILED, self.now, message)
        elif seconds is not None and seconds <= 0:
            node.mark(Phase.FAILED, self.now, STOPPED)
        elif not self.busy(node):
            name = str(template.get("name", ""))
            files = {
                f"outputs.parameters.{entry['name']}.path": entry["valueFrom"]["path"]
                for entry in (template.get("outputs") or {}).get("parameters") or ()
            }
            pod = {"pod.name": pod_name(self.program.name, call.name, name)}
            filled = fill(template, {**values, **files, **pod})
            for problem in check_patch(filled.get("podSpecPatch") or "", "podSpecPatch"):
                raise problem
            node.phase = Phase.RUNNING
            shared = {key: self.program.spec.get(key) for key in ("volumes", "podMetadata")}
            order = pod_order(self.program, node, filled, fill(shared, self.values), seconds)
            self.decision.start.append(order)
        return node

    def _pod_seconds(
        self, template: Mapping[str, Any], values: Mapping[str, str], *, exiting: bool
    ) -> int | None:
        own = template.get("activeDeadlineSeconds")
        limits = (
            []
            if own is None
            else [whole_number(fill_text(text_of(own), values), "activeDeadlineSeconds")]
        )
        if self.deadline and not exiting:
            limits.append(int((self.deadline - self.now).total_seconds()))
        return min(limits, default=None)
