# ruff: noqa: INP001 - a command of its own, in no package
"""Write the schema of each chart's values, and their reference, from comments of values.yaml.

    python charts/values_schema.py [--check]

The comment above a key is its description.  Its type is that of its default; a map takes no other
keys than those with a default, so that a misspelt value is refused.  A comment line
`@schema {...}` adds JSON-schema keywords in YAML, or names a shape that several values share
(`{ref: image}`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from values_reference import reference

CHARTS = Path(__file__).parent
REFERENCE = CHARTS.parent / "docs" / "reference" / "chart-values.md"
_QUANTITY = {"type": ["string", "integer"], "pattern": r"^[0-9.]+([EPTGMk]i?|m)?$"}
_QUANTITIES = {"type": "object", "additionalProperties": {"$ref": "#/$defs/quantity"}}
_IMAGE = {
    "registry": {"type": "string"},
    "repository": {"type": "string", "minLength": 1},
    # `latest` names another image every day
    "tag": {"type": "string", "not": {"const": "latest"}},
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
}
SHAPES: dict[str, dict[str, Any]] = {
    "quantity": _QUANTITY,
    "free": {"type": "object"},
    "resources": {
        "type": "object",
        "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES},
        "additionalProperties": False,
    },
    "image": {"type": "object", "properties": _IMAGE, "additionalProperties": False},
    "profiles": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "type": "object",
            "properties": {
                "requests": _QUANTITIES,
                "limits": _QUANTITIES,
                "nodeSelector": {"type": "object", "additionalProperties": {"type": "string"}},
                "tolerations": {"type": "array", "items": {"type": "object"}},
                "runtimeClass": {"type": "string"},
                "sharedMemory": {"$ref": "#/$defs/quantity"},
            },
            "additionalProperties": False,
        },
    },
    "part": {
        "type": "object",
        "properties": {
            "enabled": {"type": "boolean"},
            "image": {"$ref": "#/$defs/image"},
            "command": {"type": "array", "items": {"type": "string"}},
            "args": {"type": "array", "items": {"type": "string"}},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "user": {"type": "integer", "minimum": 1},
            "storage": {
                "type": "object",
                "properties": {
                    "size": {"$ref": "#/$defs/quantity"},
                    "storageClass": {"type": "string"},
                    "existingClaim": {"type": "string"},
                },
                "additionalProperties": False,
            },
            "resources": {"$ref": "#/$defs/resources"},
            "nodeSelector": {"type": "object", "additionalProperties": {"type": "string"}},
            "tolerations": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["enabled", "image", "user", "storage"],
    },
}


class BadComment(ValueError):
    """A comment of a values file cannot be used; says which file, line and why."""


def schema(values: Path) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of one values file.  Raises BadComment."""
    text = values.read_text(encoding="utf-8")
    reader = _Reader(values, text.splitlines())
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise BadComment(f"{values}: the file must be a map")
    body = reader.object_schema(root)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Values of {values.parent.name}",
        **body,
        "$defs": {name: SHAPES[name] for name in sorted(_used(body))},
    }


class _Reader:
    def __init__(self, path: Path, lines: list[str]) -> None:
        self._path = path
        self._lines = lines

    def object_schema(self, node: yaml.MappingNode) -> dict[str, Any]:
        properties = {key.value: self._value_schema(key, value) for key, value in node.value}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def _value_schema(self, key: yaml.ScalarNode, value: yaml.Node) -> dict[str, Any]:
        described, extra = self._comment(key.start_mark.line)
        shape = extra.pop("ref", None)
        if shape is not None and shape not in SHAPES:
            raise BadComment(f"{self._where(key)}: there is no shape {shape!r}")
        found = {"description": described} if described else {}
        if shape is None:
            return found | self._by_default(value) | extra
        if shape == "part" and isinstance(value, yaml.MappingNode):
            return found | self._part(value) | extra
        return found | {"$ref": f"#/$defs/{shape}"} | extra

    def _part(self, value: yaml.MappingNode) -> dict[str, Any]:
        """Return the schema of a part: the shared fields by reference, the others by default."""
        shared = SHAPES["part"]["properties"]
        own: dict[str, Any] = {}
        for key, one in value.value:
            own[key.value] = self._value_schema(key, one)
            if key.value in shared:
                own[key.value] = {
                    name: text for name, text in own[key.value].items() if name == "description"
                }
        return {
            "allOf": [{"$ref": "#/$defs/part"}],
            "properties": own,
            "additionalProperties": False,
        }

    def _by_default(self, value: yaml.Node) -> dict[str, Any]:
        if isinstance(value, yaml.MappingNode):
            if not value.value:
                return {"type": "object"}
            return self.object_schema(value)
        if isinstance(value, yaml.SequenceNode):
            return {"type": "array"}
        name = str(value.tag).rsplit(":", 1)[-1]
        types = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
        if name not in types:
            raise BadComment(f"{self._where(value)}: a default of type {name} has no schema")
        return {"type": types[name]}

    def _comment(self, line: int) -> tuple[str, dict[str, Any]]:
        """Return the description above a line, and the keywords of its `@schema` line."""
        words: list[str] = []
        extra: dict[str, Any] = {}
        for above in reversed(range(line)):
            text = self._lines[above].strip()
            if not text.startswith("#"):
                break
            text = text.removeprefix("#").strip()
            if text.startswith("@schema"):
                extra = self._keywords(text.removeprefix("@schema"), above)
            else:
                words.insert(0, text)
        return " ".join(word for word in words if word), extra

    def _keywords(self, text: str, line: int) -> dict[str, Any]:
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadComment(f"{self._path}:{line + 1}: {error}") from error
        if not isinstance(found, dict):
            raise BadComment(f"{self._path}:{line + 1}: @schema must be followed by a map")
        return found

    def _where(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"


def _used(body: object) -> set[str]:
    """Return the shapes that a schema refers to, and those that they refer to."""
    found: set[str] = set()
    waiting = list(_references(body))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(SHAPES[name])
    return found


def _references(body: object) -> Iterator[str]:
    if isinstance(body, dict):
        if isinstance(body.get("$ref"), str):
            yield body["$ref"].rsplit("/", 1)[-1]
        for one in body.values():
            yield from _references(one)
    elif isinstance(body, list):
        for one in body:
            yield from _references(one)


def main() -> int:
    """Write the schemas, or with --check tell which are stale; 1 then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    schemas = {values: schema(values) for values in sorted(CHARTS.glob("*/values.yaml"))}
    wanted = {
        values.with_name("values.schema.json"): json.dumps(made, indent=2) + "\n"
        for values, made in schemas.items()
    }
    wanted[REFERENCE] = reference(schemas)
    stale = [
        target
        for target, text in wanted.items()
        if not target.exists() or target.read_text(encoding="utf-8") != text
    ]
    for target in stale:
        if not check:
            target.write_text(wanted[target], encoding="utf-8")
        verb = "is stale: run python charts/values_schema.py" if check else "written"
        sys.stdout.write(f"{target.relative_to(CHARTS.parent)} {verb}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
