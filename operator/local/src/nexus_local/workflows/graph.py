"""The graph of nodes in a run: which ended a branch, and what a DAG's phase is."""

from collections import deque
from collections.abc import Iterable

from nexus_local.workflows.nodes import Node, NodeTable, NodeType, Phase


def outbound(nodes: NodeTable, node: Node) -> list[str]:
    """Return the ids of the nodes that what comes after `node` hangs below."""
    match node.type:
        case NodeType.RETRY if node.children:
            return [node.children[-1]]
        case NodeType.TASK_GROUP if node.children:
            below: Iterable[str] = node.children
        case NodeType.DAG:
            below = node.outbound_nodes
        case _:
            return [node.id]
    return [leaf for child in below for leaf in outbound(nodes, nodes[child])]


def dag_phase(
    nodes: NodeTable, boundary: Node, targets: Iterable[str], *, fail_fast: bool
) -> Phase:
    """Return the phase of a DAG whose ready tasks have all been created.

    targets: ids of the tasks that nothing depends on. A target that was skipped or omitted takes
    the phase of what came before it, a failure before a success.
    """
    reached = branch_phases(nodes, boundary, frozenset(targets))
    if reached is None:
        return Phase.RUNNING
    result = Phase.SUCCEEDED
    for target in targets:
        phase = reached.get(target)
        if phase is None:
            result = Phase.RUNNING
            if not fail_fast:
                break
        elif phase.bad:
            result = phase
            if fail_fast:
                break
    return result


def branch_phases(
    nodes: NodeTable, boundary: Node, targets: frozenset[str]
) -> dict[str, Phase] | None:
    """Return the phase with which each target's branches ended; None while something runs."""
    reached: dict[str, Phase] = {}
    queue = deque((child, Phase.SUCCEEDED) for child in boundary.children)
    queued = set(queue)
    while queue:
        key, phase = queue.popleft()
        node = nodes.get(key)
        if node is None or not node.phase.fulfilled:
            return None
        if node.phase.completed:
            phase = node.phase
        if key in targets and not reached.get(key, Phase.SUCCEEDED).bad:
            reached[key] = phase
        for child in next_ids(nodes, node):
            if (child, phase) not in queued:
                queued.add((child, phase))
                queue.append((child, phase))
    return reached


def next_ids(nodes: NodeTable, node: Node) -> list[str]:
    """Return what follows a node; the attempts of a Retry node are passed over."""
    if node.type is NodeType.RETRY:
        return [child for attempt in nodes.attempts(node) for child in attempt.children]
    return node.children
