"""Validation of values against a structural schema, with the answers of a kube-apiserver.

On an update, problems in parts that did not change are let pass (the API server calls it
ratcheting), so that a stricter schema never locks an object that exists.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

from nexus_api.go_text import number, quoted
from nexus_api.problems import Problem
from nexus_api.schema import Schema


class Missing:
    """Stands for an old value that is not there or cannot be matched."""


MISSING = Missing()

_LARGEST_WHOLE = 2**53 - 1  # beyond it a float of JSON no longer counts as an integer

_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def type_name(value: Any) -> str:
    """Return the JSON type of a value as the API server names it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, true is not 1."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def old_item(items: Any, item: Any, schema: Schema) -> Any:
    """Return the old list item with the same keys; MISSING unless the list is a map."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys or not isinstance(items, list) or not isinstance(item, dict):
        return MISSING
    for old in items:
        if isinstance(old, dict) and all(same(old.get(k), item.get(k)) for k in keys):
            return old
    return MISSING


def problems(value: Any, schema: Schema, path: str = "", old: Any = MISSING) -> list[Problem]:
    """Return what is wrong with a value and everything below it."""
    if old is not MISSING and same(value, old):
        return []
    found = [*_type(value, schema, path), *_enum(value, schema, path)]
    if isinstance(value, str):
        found += _string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found += _number(value, schema, path)
    elif isinstance(value, list):
        found += _list(value, schema, path, old)
    elif isinstance(value, dict):
        found += _object(value, schema, path, old)
    return found


def _type(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    wanted, found = schema["type"], type_name(value)
    if "format" in schema and found == "array":
        return  # the API server lets lists pass where a text with a format is asked for
    if "format" in schema and found not in {"string", "null"}:
        go_format = {"integer": "int64", "number": "float64"}.get(found, "")
        yield _wrong_type(path, schema["format"], go_format)
    elif found == wanted or (found == "integer" and wanted == "number"):
        return
    elif not (wanted == "integer" and isinstance(value, float) and _is_whole(value)):
        yield _wrong_type(path, wanted, found)


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) <= _LARGEST_WHOLE


def _wrong_type(path: str, wanted: str, found: str) -> Problem:
    message = f'{path} in body must be of type {wanted}: "{found}"'
    return Problem(path, found, "type", message, blocking=True)


def _enum(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    if "enum" in schema and not any(same(value, one) for one in schema["enum"]):
        offered = ", ".join(f'"{one}"' for one in schema["enum"])
        yield Problem(
            path,
            value,
            "enum",
            f"supported values: {offered}",
            sort="Unsupported value",
            blocking=True,
        )


def _string(value: str, schema: Schema, path: str) -> Iterator[Problem]:
    if len(value) > schema.get("maxLength", len(value)):
        most = schema["maxLength"]
        unit = "byte" if most == 1 else "bytes"
        message = f"may not be more than {most} {unit}"
        yield Problem(path, value, "maxLength", message, sort="Too long", blocking=True)
    elif len(value) < schema.get("minLength", 0):
        message = f"{path} in body should be at least {schema['minLength']} chars long"
        yield Problem(path, value, "minLength", message)
    elif "pattern" in schema and not _compiled(schema["pattern"]).search(value):
        message = f"{path} in body should match '{schema['pattern']}'"
        yield Problem(path, value, "pattern", message)
    if schema.get("format") == "date-time" and not _is_moment(value):
        message = f"{path} in body must be of type date-time: {quoted(value)}"
        yield Problem(path, value, "format", message, blocking=True)


@cache
def _compiled(pattern: str) -> Any:
    # The API server's own syntax: no backtracking, and $ is the very end.
    import re2  # type: ignore[import-untyped]

    return re2.compile(pattern)


def _is_moment(value: str) -> bool:
    if not _DATE_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _number(value: float, schema: Schema, path: str) -> Iterator[Problem]:
    if "minimum" in schema and value < schema["minimum"]:
        least = number(type(value)(schema["minimum"]))
        message = f"{path} in body should be greater than or equal to {least}"
        yield Problem(path, value, "minimum", message)
    if "maximum" in schema and value > schema["maximum"]:
        most = number(type(value)(schema["maximum"]))
        message = f"{path} in body should be less than or equal to {most}"
        yield Problem(path, value, "maximum", message)


def _list(value: list[Any], schema: Schema, path: str, old: Any) -> Iterator[Problem]:
    if len(value) > schema.get("maxItems", len(value)):
        yield _too_many(path, len(value), "maxItems", schema["maxItems"])
    if len(value) < schema.get("minItems", 0):
        message = f"{path} in body should have at least {schema['minItems']} items"
        yield Problem(path, len(value), "minItems", message)
    if "items" in schema:
        for index, item in enumerate(value):
            was = old_item(old, item, schema)
            yield from problems(item, schema["items"], f"{path}[{index}]", was)


def _too_many(path: str, count: int, rule: str, most: int) -> Problem:
    message = f"must have at most {most} {'item' if most == 1 else 'items'}"
    return Problem(path, count, rule, message, sort="Too many", blocking=True)


def _object(value: dict[str, Any], schema: Schema, path: str, old: Any) -> Iterator[Problem]:
    before = old if isinstance(old, dict) else {}
    if len(value) < schema.get("minProperties", 0):
        message = f"{path} in body should have at least {schema['minProperties']} properties"
        yield Problem(path, len(value), "minProperties", message)
    if len(value) > schema.get("maxProperties", len(value)):
        yield _too_many(path, len(value), "maxProperties", schema["maxProperties"])
    known = schema.get("properties", {})
    for name, child in value.items():
        below = known.get(name, schema.get("additionalProperties"))
        if below is not None:
            where = f"{path}.{name}" if path else name
            yield from problems(child, below, where, before.get(name, MISSING))
    for name in schema.get("required", ()):
        if name not in value:
            where = f"{path}.{name}" if path else name
            yield Problem(where, None, "required", "", sort="Required value", blocking=True)


def repeated(value: Any, schema: Schema, path: str = "") -> list[Problem]:
    """Return items that stand twice in lists that are sets or maps."""
    found: list[Problem] = []
    if isinstance(value, list):
        found += _repeated_items(value, schema, path)
        for index, item in enumerate(value):
            found += repeated(item, schema.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        for name, child in value.items():
            below = known.get(name, schema.get("additionalProperties", {}))
            found += repeated(child, below, f"{path}.{name}" if path else name)
    return found


def _repeated_items(items: list[Any], schema: Schema, path: str) -> Iterator[Problem]:
    sort = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if sort not in {"set", "map"}:
        return
    if sort == "map":
        for index, item in enumerate(items):
            if item is not None and not isinstance(item, dict):
                message = "must be an object for an array of list-type map"
                yield Problem(f"{path}[{index}]", item, "listType", message)
                return
    seen: list[list[Any]] = []  # a value and how often it was seen
    for index, item in enumerate(items):
        value = item
        if sort == "map":
            value = {key: item[key] for key in keys if key in (item or {})}
        for entry in seen:
            if same(entry[0], value):
                entry[1] += 1
                if entry[1] == 2:  # noqa: PLR2004 - the second of its kind; later ones go unsaid
                    yield Problem(f"{path}[{index}]", value, "unique", "", sort="Duplicate value")
                break
        else:
            seen.append([value, 1])
