"""What the API server does to an object before it looks at its values: prune, then fill in.

Unknown fields are reported (requests are strict), nulls without a default are dropped, and defaults
are put in from the outside inwards, so that a default of `{}` gets the defaults below it.
"""

import copy
from collections.abc import Iterator
from typing import Any

from nexus_api.meta import Manifest
from nexus_api.schema import Schema

_ROOT_FIELDS = {"apiVersion", "kind", "metadata"}


def unknown_fields(value: Manifest, schema: Schema) -> Iterator[str]:
    """Yield the paths of fields that the schema does not know, in order of appearance."""
    for name, child in value.items():
        if name in _ROOT_FIELDS:
            continue
        if name not in schema["properties"]:
            yield name
        else:
            yield from _unknown(child, schema["properties"][name], name)


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        known = schema.get("properties", {})
        free = schema.get("additionalProperties")
        for name, child in value.items():
            if name in known:
                yield from _unknown(child, known[name], f"{path}.{name}")
            elif free is not None:
                yield from _unknown(child, free, f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown(item, schema["items"], f"{path}[{index}]")


def drop_nulls(value: Any, schema: Schema) -> None:
    """Drop fields that are null and have no default, in place."""
    if isinstance(value, dict):
        known, free = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name in [n for n, child in value.items() if child is None]:
            below = known.get(name, free)
            if below and "default" not in below:
                del value[name]
        for name, child in value.items():
            drop_nulls(child, known.get(name, free))
    elif isinstance(value, list):
        for item in value:
            drop_nulls(item, schema.get("items", {}))


def fill_in(value: Any, schema: Schema) -> None:
    """Put in the defaults of the schema, in place."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name, child in known.items():
            if "default" in child and value.get(name) is None:
                value[name] = copy.deepcopy(child["default"])
        free = schema.get("additionalProperties", {})
        for name, child in value.items():
            fill_in(child, known.get(name, free))
    elif isinstance(value, list):
        for item in value:
            fill_in(item, schema.get("items", {}))
