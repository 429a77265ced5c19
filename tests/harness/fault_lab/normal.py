"""What two runs of a scenario have to have in common: objects without what differs by nature."""

import json
import re
from collections.abc import Iterable
from typing import Any

from fault_lab.mirror import Change, Place

Snapshot = dict[str, Any]
"""Objects of both namespaces of a case, by kind and normal name."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SERVERS_OWN = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generation",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_ALLOCATED = ("clusterIP", "clusterIPs", "healthCheckNodePort")
_SCRIPTED = frozenset({"Deployment", "Workflow"})
"""Kinds whose status is written by the scenario."""

_HOW_IT_CAME = ("llmops.nexus/applied-hash", "llmops.nexus/cause", "llmops.nexus/attempt")
"""Annotations that tell the history of an object: the hash covers uids; why a run was started, and
how many had failed before it, is not known any more when the operator died between saying that it
starts and starting it."""

_CAUSE = re.compile(
    r"(is running|is starting): (?:the spec has changed|somebody asked for it|"
    r"its interval has passed|the one before did not end well|[a-z ]*first[a-z ]*)\."
)


def snapshot(places: Iterable[Place], names: dict[str, str]) -> Snapshot:
    """Return what is there now; `names` are texts to replace, such as names of namespaces."""
    places = list(places)
    texts = normal_names(places, names)
    found = {}
    for place in places:
        for (kind, _), one in place.objects.items():
            value = _normal(kind, one, texts)
            found[f"{kind} {value['metadata']['namespace']}/{value['metadata']['name']}"] = value
    return found


def normal_names(places: Iterable[Place], names: dict[str, str]) -> dict[str, str]:
    """Return what stands for each name and uid that differs between runs."""
    places = list(places)
    return {**names, **_run_names(places), **_uids(places)}


def difference(expected: Snapshot, found: Snapshot) -> str:
    """Return what differs, a line for each place; empty when nothing does."""
    return "\n".join(_differences("", expected, found))


def _differences(where: str, expected: Any, found: Any) -> list[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = []
        for key in sorted(expected.keys() | found.keys()):
            absent = "(not there)"
            one, other = expected.get(key, absent), found.get(key, absent)
            if one != other:
                lines += _differences(f"{where}.{key}" if where else key, one, other)
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [
            line
            for index, (one, other) in pairs
            if one != other
            for line in _differences(f"{where}[{index}]", one, other)
        ]
    if expected == found:
        return []
    return [f"{where}: {_short(expected)} expected, {_short(found)} found"]


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _run_names(places: list[Place]) -> dict[str, str]:
    """Number the Workflows of each sort by the order in which they were made."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for change in _in_order(places):
        if change.kind == "Workflow" and change.type == "ADDED" and change.name not in names:
            sort = re.sub(r"-[0-9a-f]{8}$", "", change.name)
            sort = sort.rpartition("-")[2]
            counts[sort] = counts.get(sort, 0) + 1
            names[change.name] = f"<{sort} {counts[sort]}>"
    return names


def _uids(places: list[Place]) -> dict[str, str]:
    return {
        change.object["metadata"]["uid"]: f"<uid of {change.kind}>"
        for change in _in_order(places)
        if change.type == "ADDED"
    }


def _in_order(places: list[Place]) -> list[Change]:
    return sorted((one for place in places for one in place.history), key=lambda one: one.version)


def _normal(kind: str, one: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    metadata = {key: value for key, value in one["metadata"].items() if key not in _SERVERS_OWN}
    annotations = dict(metadata.get("annotations") or {})
    for name in _HOW_IT_CAME:
        annotations.pop(name, None)
    metadata["annotations"] = annotations
    if kind not in _SCRIPTED and "generation" in one["metadata"]:
        metadata["generation"] = one["metadata"]["generation"]
    value = {**one, "metadata": metadata}
    if isinstance(value.get("spec"), dict):
        value["spec"] = {k: v for k, v in value["spec"].items() if k not in _ALLOCATED}
    if kind in _SCRIPTED:
        status = one.get("status") or {}
        value["status"] = {key: status[key] for key in ("phase", "replicas") if key in status}
    text = json.dumps(value, sort_keys=True)
    for old in sorted(texts, key=len, reverse=True):
        text = text.replace(old, texts[old])
    text = _CAUSE.sub(r"\1: <cause>.", _TIME.sub("<time>", text))
    normal: dict[str, Any] = json.loads(text)
    return normal
