"""Reading manifests: YAML documents as the API server reads them.

YAML has dialects.  A file must mean the same on a laptop and on a cluster, so plain scalars are
read by the rules of the Go library that Kubernetes uses (YAML 1.1 booleans such as `yes`, no
sexagesimal numbers, dates as text), keys are text, and a key that stands twice is refused.
Anchors and merge keys work, with a limit on what they may grow to; what a merge brings cannot be
overridden, since that sets a key twice.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from nexus_api.meta import Manifest

LARGEST: Final = 100_000
"""Most values in one text once its aliases are followed."""

_BOOLEANS = {
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False
    ),
}
_NULLS = {"", "~", "null", "Null", "NULL"}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT64 = 2**63
_PLAIN = "plain"
_CONTAINER_OR_QUOTED = "as it is"
_TAGS: dict[type, str] = {
    bool: "tag:yaml.org,2002:bool",
    int: "tag:yaml.org,2002:int",
    float: "tag:yaml.org,2002:float",
    type(None): "tag:yaml.org,2002:null",
}
_WRITTEN_OUT = 1e21  # Go writes whole floats below this without an exponent: they are integers


class BadManifest(ValueError):
    """A text holds no manifests: it is no YAML, or not of the form of manifests."""

    def __init__(self, line: int, message: str) -> None:
        """Take the line, counted from 1, and what is wrong there."""
        self.line = line
        super().__init__(f"line {line}: {message}")


def load_manifests(text: str) -> list[Manifest]:
    """Return the objects in a text of one or many YAML (or JSON) documents.

    Empty documents are skipped and a `List` is taken apart.  Raises BadManifest, which names the
    line, for what is no YAML, no mapping, or has a key twice.
    """
    found: list[Manifest] = []
    for node in _documents(text):
        value = _Reader().read(node)
        if value is None:
            continue
        line = node.start_mark.line + 1
        if not isinstance(value, dict):
            raise BadManifest(line, "a manifest is a mapping with apiVersion, kind and metadata")
        found += _objects(value, line)
    return found


def _objects(value: Manifest, line: int) -> Iterator[Manifest]:
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str) or not value[field]:
            raise BadManifest(line, f"{field} is not set")
    if value["kind"] != "List":
        yield value
        return
    items = value.get("items")
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict):
            raise BadManifest(line, "an item of a List is a mapping")
        yield from _objects(item, line)


class _Composer(yaml.SafeLoader):
    """Leaves scalars as they are written; only explicit tags are seen."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:  # noqa: ARG002
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else _CONTAINER_OR_QUOTED


def _documents(text: str) -> Iterator[yaml.Node]:
    try:
        yield from yaml.compose_all(text, Loader=_Composer)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = ", ".join(filter(None, (error.context, error.problem)))
        raise BadManifest(mark.line + 1 if mark else 1, f"no YAML: {told}") from error
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        raise BadManifest(line, f"no YAML: {getattr(error, 'reason', error)}") from error
    except RecursionError as error:
        raise BadManifest(1, "no YAML that can be read: nested too deeply") from error


class _Reader:
    """Turns the nodes of one document into JSON values."""

    def __init__(self) -> None:
        self._count = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > LARGEST:
            raise _at(node, f"more than {LARGEST} values once aliases are followed")
        if id(node) in self._open:
            raise _at(node, "an alias stands inside what it names")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item) for item in node.value]
            return self._scalar(node)
        except RecursionError as error:
            raise _at(node, "nested too deeply") from error
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.value == "<<" and key_node.tag == _PLAIN:
                found = self._merged(value_node)
            else:
                found = [(self._key(key_node), self.read(value_node))]
            for key, value in found:
                if key in out:
                    raise _at(key_node, f'key "{key}" already set in map')
                out[key] = value
        return out

    def _merged(self, node: yaml.Node) -> list[tuple[str, Any]]:
        value = self.read(node)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise _at(node, "map merge requires map or sequence of maps as the value")
        return [pair for part in parts for pair in part.items()]

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise _at(node, "a key is text")
        value = self._scalar(node)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "null" if value is None else str(value)

    def _scalar(self, node: yaml.Node) -> Any:
        text: str = node.value
        if node.tag in {_CONTAINER_OR_QUOTED, "tag:yaml.org,2002:str"}:
            return text
        value = resolve(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise _at(node, f"{text} is no number that JSON can write")
        if node.tag not in {_PLAIN, _TAGS.get(type(value))}:
            raise _at(node, f"{text!r} does not fit the tag {node.tag}")
        return value


def resolve(text: str) -> str | bool | float | None:
    """Return what a plain scalar stands for; a whole number is an integer, however written."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text.lower().lstrip("+-") in {".inf", ".nan"}:
        return math.nan
    bare = text if text.startswith("_") else text.replace("_", "")
    if bare and _INTEGER.fullmatch(bare):
        return _whole(bare)
    if _FLOAT.fullmatch(bare):
        value = float(bare)
        whole = value.is_integer() and abs(value) < _WRITTEN_OUT
        return _as_int64(int(value)) if whole else value
    return text


def _whole(text: str) -> float:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower()
    octal = len(digits) > 1 and digits.startswith("0") and digits[1].isdigit()
    return _as_int64(sign * (int(digits, 8) if octal else int(digits, 0)))


def _as_int64(value: int) -> float:
    return value if -_INT64 <= value < _INT64 else float(value)


def _at(node: yaml.Node, message: str) -> BadManifest:
    return BadManifest(node.start_mark.line + 1, message)
