"""What of a finished Workflow must be the same wherever it ran."""

from typing import Any

Manifest = dict[str, Any]


def outcome(workflow: Manifest) -> Manifest:
    """Return the phase, and for each node its type, phase, parameters, exit code and children.

    Times, pod names and hosts differ between two runs of one engine and are left out; so are
    messages, which a person reads and no program should.
    """
    status = workflow["status"]
    nodes = status.get("nodes") or {}
    names = {key: node["name"] for key, node in nodes.items()}
    return {
        "phase": status["phase"],
        "nodes": {
            node["name"]: {
                "type": node["type"],
                "phase": node["phase"],
                "inputs": _parameters(node.get("inputs")),
                "outputs": _parameters(node.get("outputs")),
                "exit": (node.get("outputs") or {}).get("exitCode", ""),
                "children": sorted(
                    names[key] for key in node.get("children") or () if key in names
                ),
            }
            for node in nodes.values()
        },
    }


def _parameters(side: Manifest | None) -> dict[str, str]:
    """Return the parameters that have a value: Argo lists those never written, too."""
    parameters = (side or {}).get("parameters") or ()
    return {one["name"]: str(one["value"]) for one in parameters if "value" in one}
