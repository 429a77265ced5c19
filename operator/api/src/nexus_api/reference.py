"""The reference page of the resources, written from the same schemas as the definitions."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nexus_api.kinds import KINDS, Kind
from nexus_api.meta import API_VERSION
from nexus_api.schema import Schema, structural_schema

_HEAD = f"""\
<!-- Generated from the models of nexus_api by `make generate`; do not edit. -->
# Resources
All kinds are of `apiVersion: {API_VERSION}` and live in a namespace, which is the tenant. A field \
that is not listed here is refused. A field with a default may be left out, and so may the object \
around it. Numbers with a fraction are written as text (`"0.25"`), durations as `90s`, `5m` or \
`2h`, sizes as `64Mi`. [conditions.md](conditions.md) tells what the \
conditions of a status mean and what annotations ask for.
"""
_LIST_SUFFIX = "[]"
_Pointed = tuple[tuple[str, ...], dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One field as a reader looks for it."""

    path: str
    node: Schema
    required: bool
    rules: tuple[str, ...]


def reference_page() -> str:
    """Return the page in Markdown: for each kind its fields, its status and its columns."""
    return "\n".join([_HEAD, *(_section(kind) for kind in KINDS.values())])


def _section(kind: Kind) -> str:
    schema = structural_schema(kind.name)
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    named = [f"`metadata.name` {rule['message']}." for rule in schema["x-kubernetes-validations"]]
    scaled = " `kubectl scale` sets `spec.replicas`." if kind.scale else ""
    lines = [
        f"## {kind.name}",
        f"{schema['description']} Plural `{kind.plural}`, short `{kind.short}`.{scaled}",
        "",
        *(f"- {sentence}" for sentence in named),
        "",
        f"### {kind.name} spec",
        *_table(("field", "type", "default", "rules", "meaning"), map(_spec_cells, _rows(spec))),
        "",
        f"### {kind.name} status",
        "Written by the controller alone.",
        "",
        *_table(("field", "type", "meaning"), map(_status_cells, _rows(status))),
        "",
        f"### {kind.name} columns",
        *_table(("column", "shows", "when"), _column_cells(kind)),
        "",
    ]
    return "\n".join(lines)


def _rows(node: Schema, path: str = "", inherited: Sequence[_Pointed] = ()) -> Iterator[_Row]:
    """Yield the fields below an object, each with the rules that stand on it or point at it."""
    required = node.get("required", ())
    pointed = [*inherited, *_pointed(node)]
    for name, child in node.get("properties", {}).items():
        below = child.get("items", child) if child["type"] == "array" else child
        own = [r for one in _once(child, below) for at, r in _pointed(one) if not at]
        here = [rule for at, rule in pointed if at == (name,)]
        rules = tuple(dict.fromkeys(rule["message"] for rule in (*own, *here)))
        yield _Row(f"{path}{name}", child, name in required, rules)
        deeper = [(at[1:], rule) for at, rule in pointed if len(at) > 1 and at[0] == name]
        suffix = "" if below is child else _LIST_SUFFIX
        yield from _rows(below, f"{path}{name}{suffix}.", deeper)


def _once(child: Schema, below: Schema) -> tuple[Schema, ...]:
    return (child,) if below is child else (child, below)


def _pointed(node: Schema) -> list[_Pointed]:
    """Return the rules of a node, each with the names from it to the field that it speaks of."""
    return [
        (tuple(filter(None, rule.get("fieldPath", "").split("."))), rule)
        for rule in node.get("x-kubernetes-validations", ())
    ]


def _spec_cells(row: _Row) -> tuple[str, ...]:
    limits = [*_limits(row.node), *(_prose(rule) for rule in row.rules)]
    meaning = _prose(row.node["description"])
    return (_code(row.path), _type(row.node), _default(row), "; ".join(limits), meaning)


def _status_cells(row: _Row) -> tuple[str, ...]:
    return (_code(row.path), _type(row.node), _prose(row.node.get("description", "")))


def _column_cells(kind: Kind) -> Iterator[tuple[str, ...]]:
    for column in kind.columns:
        yield (column.name, _code(column.path), "with `-o wide`" if column.priority else "always")


def _type(node: Schema) -> str:
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    return str(node["type"])


def _default(row: _Row) -> str:
    if row.required:
        return "required"
    if "default" not in row.node or row.node["type"] == "object":
        return ""
    return _code(json.dumps(row.node["default"], ensure_ascii=False))


def _limits(node: Schema) -> Iterator[str]:
    """Yield what the schema itself demands, in words."""
    if "enum" in node:
        yield "one of " + ", ".join(_code(str(value)) for value in node["enum"])
    yield from _range(node, "minimum", "maximum", "")
    yield from _range(node, "minLength", "maxLength", " characters")
    yield from _range(node, "minItems", "maxItems", " items")
    yield from _range(node, "minProperties", "maxProperties", " entries")
    if node.get("x-kubernetes-list-type") == "set":
        yield "no item twice"
    if "pattern" in node:
        yield f"matches {_code(node['pattern'])}"
    for inner in ("items", "additionalProperties"):
        if inner in node and node[inner]["type"] != "object":
            yield from (f"each {limit}" for limit in _limits(node[inner]))


def _range(node: Schema, least: str, most: str, unit: str) -> Iterator[str]:
    low, high = node.get(least), node.get(most)
    if low is not None and high is not None:
        yield f"{low} to {high}{unit}"
    elif high is not None:
        yield f"at most {high}{unit}"
    elif low is not None:
        yield f"at least {low}{unit}"


def _code(text: str) -> str:
    """Return a code span that stays in its cell of a table."""
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`"


def _prose(text: str) -> str:
    """Return a sentence that Markdown shows as it is, in one cell; code spans are left alone."""
    parts = text.replace("|", "\\|").split("`")
    for number in range(0, len(parts), 2):
        for sign in "*_<":
            parts[number] = parts[number].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _table(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(titles) + " |"
    yield "| " + " | ".join("---" for _ in titles) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
