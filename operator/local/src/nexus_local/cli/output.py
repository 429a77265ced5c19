"""Objects as people read them: tables from printer columns, YAML, JSON, names, JSONPath."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console

from nexus_api.kinds import KINDS as OWN_KINDS
from nexus_api.meta import Manifest
from nexus_local.cli.errors import UsageError
from nexus_local.cli.kinds import Kind
from nexus_local.cli.table import print_table

Column = tuple[str, str, str, int]  # name, type, JSONPath, priority

_BUILT_IN: dict[str, tuple[Column, ...]] = {
    "Deployment": (
        ("Ready", "string", ".status.readyReplicas", 0),
        ("Desired", "integer", ".spec.replicas", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ),
    "Pod": (
        ("Status", "string", ".status.phase", 0),
        ("Restarts", "integer", ".status.containerStatuses[0].restartCount", 0),
        ("Reason", "string", ".status.containerStatuses[0].state.waiting.reason", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ),
    "Service": (
        ("Port", "integer", ".status.loadBalancer.ingress[0].ports[0].port", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ),
    "Workflow": (
        ("Status", "string", ".status.phase", 0),
        ("Progress", "string", ".status.progress", 0),
        ("Message", "string", ".status.message", 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ),
    "Event": (
        ("Type", "string", ".type", 0),
        ("Reason", "string", ".reason", 0),
        ("Object", "string", ".involvedObject.name", 0),
        ("Message", "string", ".message", 0),
    ),
}
_PLAIN: tuple[Column, ...] = (("Age", "date", ".metadata.creationTimestamp", 0),)


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind: of our own kinds those that their CRDs declare."""
    own = OWN_KINDS.get(kind.name)
    if own is not None:
        return tuple((c.name, c.type, c.path, c.priority) for c in own.columns)
    return _BUILT_IN.get(kind.name, _PLAIN)


def lookup(manifest: Manifest, path: str) -> list[Any]:
    """The values at a Kubernetes JSONPath such as `.status.conditions[?(@.type=="Ready")].status`.

    Raises:
        UsageError: the path is not one.
    """
    from jsonpath_ng.exceptions import JSONPathError
    from jsonpath_ng.ext.parser import parse

    text = re.sub(r"\\\.", ".", path)
    try:
        expression = parse(f"${text}" if text.startswith((".", "[")) else text)
    except JSONPathError as error:
        raise UsageError(f"{path!r} is not a JSONPath: {error}") from error
    return [match.value for match in expression.find(manifest)]


def render_jsonpath(manifest: Manifest, template: str) -> str:
    """A kubectl JSONPath template: `{...}` parts are looked up, the rest is text."""

    def part(match: re.Match[str]) -> str:
        body = match.group(1).strip()
        if body.startswith('"'):
            return str(json.loads(body))
        values = lookup(manifest, body)
        return " ".join(value if isinstance(value, str) else json.dumps(value) for value in values)

    wrapped = template if "{" in template else f"{{{template}}}"
    return re.sub(r"\{([^{}]*)\}", part, wrapped)


def age(stamp: str, now: datetime) -> str:
    """How long ago, in the two words that kubectl uses: 45s, 12m, 3h, 9d."""
    then = datetime.fromisoformat(stamp)
    seconds = max(0, int((now - then).total_seconds()))
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"


def cell(manifest: Manifest, column: Column, now: datetime) -> str:
    """One cell of a table; empty where there is no value."""
    values = lookup(manifest, column[2])
    if not values or values[0] is None:
        return ""
    return age(str(values[0]), now) if column[1] == "date" else str(values[0])


def print_objects(
    console: Console,
    kind: Kind,
    objects: Sequence[Manifest],
    output: str,
    *,
    everywhere: bool,
    listed: bool = False,
) -> None:
    """Print objects in the form that `-o` names.

    listed: whether they are all of their kind, which is a list however many there are.

    Raises:
        UsageError: the form is not known.
    """
    form, _, rest = output.partition("=")
    if form in ("", "wide"):
        _table(console, kind, objects, wide=form == "wide", everywhere=everywhere)
    elif form == "name":
        for item in objects:
            console.out(f"{kind.display}/{item['metadata']['name']}", highlight=False)
    elif form in ("json", "yaml"):
        whole: Any = list(objects)
        one = len(whole) == 1 and not listed
        payload = whole[0] if one else {"apiVersion": "v1", "kind": "List", "items": whole}
        text = (
            json.dumps(payload, indent=2, ensure_ascii=False) if form == "json" else dump(payload)
        )
        console.out(text.rstrip("\n"), highlight=False)
    elif form == "jsonpath":
        console.out(" ".join(render_jsonpath(o, rest) for o in objects), highlight=False)
    else:
        raise UsageError(f"-o {output!r} is not known: use wide, json, yaml, name or jsonpath=...")


def dump(payload: Any) -> str:
    """YAML as a person would write it."""
    return yaml.safe_dump(payload, sort_keys=False, allow_unicode=True)


def _table(
    console: Console, kind: Kind, objects: Sequence[Manifest], *, wide: bool, everywhere: bool
) -> None:
    """The table that `kubectl get` would print."""
    columns = [c for c in columns_of(kind) if wide or c[3] == 0]
    heads = [*(["NAMESPACE"] if everywhere else []), "NAME", *(c[0].upper() for c in columns)]
    now = datetime.now(UTC)
    rows = [
        [
            *([item["metadata"].get("namespace", "")] if everywhere else []),
            item["metadata"]["name"],
            *(cell(item, c, now) for c in columns),
        ]
        for item in objects
    ]
    print_table(console, heads, rows)
