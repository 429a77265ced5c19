"""Fan-out: the items of `withItems`/`withParam`, and what their outputs add up to."""

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_local.workflows.errors import WorkflowError
from nexus_local.workflows.names import compact_json, expanded_name, item_text, scalar_text
from nexus_local.workflows.nodes import Node, NodeType, Phase


@dataclass(frozen=True, slots=True)
class Branch:
    """One task of a fan-out: its name, and what references in it stand for."""

    name: str
    values: Mapping[str, str]


def parse_items(text: str) -> list[Any]:
    """Read the value of withParam; raises WorkflowError when it is no JSON list."""
    try:
        items = json.loads(text)
    except ValueError as error:
        items = error
    if not isinstance(items, list):
        shown = text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth
        raise WorkflowError(f"withParam value could not be parsed as a JSON list: {shown.strip()}")
    return items


def branches(task: str, items: Iterable[Any], visible: Mapping[str, str]) -> list[Branch]:
    """Return the tasks of a fan-out, in order; each sees `visible` and its own item."""
    shared = dict(visible)
    return [
        Branch(expanded_name(task, index, item), ChainMap(item_values(item), shared))
        for index, item in enumerate(items)
    ]


def item_values(item: Any) -> dict[str, str]:
    """Return what `{{item}}` and, for a map, `{{item.key}}` stand for."""
    if isinstance(item, Mapping):
        by_key = {f"item.{key}": scalar_text(value) for key, value in item.items()}
        return {"item": compact_json(dict(sorted(item.items()))), **by_key}
    return {"item": compact_json(item) if isinstance(item, list) else item_text(item)}


def aggregate(prefix: str, nodes: Iterable[Node]) -> dict[str, str]:
    """Return what `{{<prefix>.outputs.parameters...}}` of a fan-out stand for.

    prefix: `tasks.<name>`. Only branches that succeeded count, in the order of their items: a list
    of {name: value} under `.outputs.parameters`, and for each output the list of its values, as
    JSON when every value is a JSON object or list, else as text.
    """
    rows: list[dict[str, str]] = []
    columns: dict[str, list[str]] = {}
    for node in nodes:
        parameters = (node.outputs or {}).get("parameters") or []
        if node.phase is not Phase.SUCCEEDED or not parameters:
            continue
        rows.append({parameter["name"]: parameter["value"] for parameter in parameters})
        for name, value in rows[-1].items():
            columns.setdefault(name, []).append(value)
    values = {f"{prefix}.outputs.parameters": compact_json([dict(sorted(r.items())) for r in rows])}
    for name, column in columns.items():
        values[f"{prefix}.outputs.parameters.{name}"] = compact_json(structured(column) or column)
    return values


def structured(values: list[str]) -> list[Any] | None:
    """Return the values as JSON when each is an object or a list, else None."""
    found = []
    for value in values:
        try:
            parsed = json.loads(value)
        except ValueError:
            return None
        if not isinstance(parsed, dict | list):
            return None
        found.append(sort_keys(parsed))
    return found


def sort_keys(value: Any) -> Any:
    """Return JSON with the keys of every object sorted."""
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    return [sort_keys(entry) for entry in value] if isinstance(value, list) else value


def group_phase(nodes: Iterable[Node]) -> Phase:
    """Return the phase of a TaskGroup whose branches have all ended."""
    phase = Phase.SUCCEEDED
    for node in nodes:
        if node.phase.bad:
            phase = node.phase
    return phase


def results_of(node: Node, children: Iterable[Node]) -> dict[str, bool]:
    """Return every task result that `depends` may ask of a task that has ended."""
    phases = [child.phase for child in children] if node.type is NodeType.TASK_GROUP else []
    return {
        "Succeeded": node.phase is Phase.SUCCEEDED,
        "Failed": node.phase is Phase.FAILED,
        "Errored": node.phase is Phase.ERROR,
        "Skipped": node.phase is Phase.SKIPPED,
        "Omitted": node.phase is Phase.OMITTED,
        "Daemoned": False,  # daemons are refused at submission
        "AnySucceeded": Phase.SUCCEEDED in phases,
        "AllFailed": bool(phases) and all(phase is Phase.FAILED for phase in phases),
    }
