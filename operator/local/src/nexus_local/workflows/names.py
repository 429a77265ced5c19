"""Names that Argo gives to nodes and pods, and the JSON it writes into them.

Source: the naming of Argo Workflows 3.7 as its status shows it: a node id is the workflow's name
and the 32-bit FNV-1a hash of the node's name; a pod's name carries the template's name too.
"""

import json
from collections.abc import Mapping
from typing import Any

FNV_OFFSET = 0x811C9DC5
FNV_PRIME = 0x01000193
MAX_POD_PREFIX = 242  # 253 characters of a Kubernetes name, less a dash and ten digits


def fnv32a(text: str) -> int:
    """Return the 32-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    value = FNV_OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFF
    return value


def node_id(workflow: str, node_name: str) -> str:
    """Return the key of a node in `status.nodes`."""
    return workflow if workflow == node_name else f"{workflow}-{fnv32a(node_name)}"


def pod_name(workflow: str, node_name: str, template: str) -> str:
    """Return the deterministic name of the pod that runs a node."""
    if workflow == node_name:
        return workflow
    prefix = f"{workflow}-{template}" if template else workflow
    return f"{prefix[:MAX_POD_PREFIX]}-{fnv32a(node_name)}"


def display_name(node_name: str, boundary_name: str | None) -> str:
    """Return the short name of a node within its boundary: `wf.sync.plan(0)` -> `plan(0)`."""
    if boundary_name is None:
        return node_name
    return node_name.removeprefix(boundary_name).removeprefix(".")


def exit_node_name(workflow: str) -> str:
    """Return the name of the node that runs the exit handler."""
    return f"{workflow}.onExit"


def compact_json(value: Any) -> str:
    """Return JSON as Go's encoder writes it: no spaces, `<`, `>` and `&` escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def item_text(item: Any) -> str:
    """Return an item of withItems/withParam as it stands in a node's name."""
    if isinstance(item, str):
        text = compact_json(item)[1:-1]
    elif isinstance(item, Mapping):
        return ",".join(sorted(f"{key}:{scalar_text(value)}" for key, value in item.items()))
    elif isinstance(item, list):
        text = f"[{' '.join(scalar_text(entry) for entry in item)}]"
    else:
        text = compact_json(item)
    return unescape_html(text)


def scalar_text(value: Any) -> str:
    """Return a value as Argo prints one: strings without quotes, all else as JSON."""
    text = compact_json(value)
    return unescape_html(text[1:-1] if isinstance(value, str) else text)


def unescape_html(text: str) -> str:
    """Undo the escapes of `<`, `>` and `&`."""
    return text.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")


def expanded_name(task: str, index: int, item: Any) -> str:
    """Return the name of one task of a fan-out: `ingest(3:count:12,key:shard-0003.json)`."""
    return f"{task}({index}:{item_text(item).replace('(', '').replace(')', '')})"
