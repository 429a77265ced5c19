"""Filters of a search: fields and wanted values from a user, never an expression.

``{"document": "a.pdf"}`` · ``{"document": ["a.pdf", "b.pdf"]}`` · ``{"page": {"gte": 3}}`` ·
``{"metadata.lang": "de"}``: all entries must hold.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import InvalidFilter

Scalar: TypeAlias = str | int | float | bool
Operator: TypeAlias = Literal["in", "lt", "lte", "gt", "gte"]

_SYMBOLS: dict[Operator, str] = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_TEXT_FIELDS = ("document", "document_id", "section")
_NUMBER_FIELDS = ("page", "start", "end")
_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEAST = -(2**63)
_MAX_CONDITIONS = 16
_MAX_VALUES = 256


@dataclass(frozen=True, slots=True)
class Condition:
    """One field compared with a value, or with several (``in``: any of them)."""

    field: str
    operator: Operator
    values: tuple[Scalar, ...]

    def holds(self, chunk: Chunk) -> bool:
        """Say whether a chunk meets the condition."""
        name = self.field.removeprefix("metadata.")
        seen = getattr(chunk, name) if name == self.field else chunk.metadata.get(name)
        if self.operator == "in":
            return any(_equal(seen, value) for value in self.values)
        if isinstance(seen, bool) or not isinstance(seen, int | float):
            return False
        bound = float(self.values[0])
        return {
            "lt": seen < bound, "lte": seen <= bound, "gt": seen > bound, "gte": seen >= bound,
        }[self.operator]  # fmt: skip

    def expression(self) -> str:
        """Return the condition in the language of Milvus, values quoted."""
        name = self.field.removeprefix("metadata.")
        left = name if name == self.field else f'metadata["{name}"]'
        if self.operator != "in":
            return f"{left} {_SYMBOLS[self.operator]} {_literal(self.values[0])}"
        # Not ``in``: Lite takes a plain field on its left, no path into JSON.
        return " or ".join(f"{left} == {_literal(value)}" for value in self.values)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, wanted: Mapping[str, Any]) -> "Filter | None":
        """Read a filter as users write it; None when empty.  Raises ``InvalidFilter``."""
        if len(wanted) > _MAX_CONDITIONS:
            raise InvalidFilter(f"filter has {len(wanted)} fields; at most {_MAX_CONDITIONS}")
        conditions = [one for name, value in wanted.items() for one in _parse(name, value)]
        return cls(tuple(conditions)) if conditions else None

    def holds(self, chunk: Chunk) -> bool:
        """Say whether a chunk meets every condition."""
        return all(condition.holds(chunk) for condition in self.conditions)

    def expression(self) -> str:
        """Return the filter in the language of Milvus."""
        return " and ".join(f"({condition.expression()})" for condition in self.conditions)


def _parse(name: str, value: object) -> list[Condition]:
    if name not in (*_TEXT_FIELDS, *_NUMBER_FIELDS):
        prefix, _, rest = name.partition(".")
        if prefix != "metadata" or not _METADATA_NAME.fullmatch(rest):
            raise InvalidFilter(
                f"filter field {name!r} is unknown; use {', '.join(_TEXT_FIELDS)}, "
                f"{', '.join(_NUMBER_FIELDS)} or metadata.<name>"
            )
    if isinstance(value, Mapping):
        return [_bound(name, operator, bound) for operator, bound in value.items()]
    values = value if isinstance(value, list) else [value]
    if not values or len(values) > _MAX_VALUES:
        raise InvalidFilter(f"filter field {name!r} needs 1 to {_MAX_VALUES} values")
    return [Condition(name, "in", tuple(_scalar(name, one) for one in values))]


def _bound(name: str, operator: object, bound: object) -> Condition:
    found = next((known for known in _SYMBOLS if known == operator), None)
    if found is None or name in _TEXT_FIELDS:
        raise InvalidFilter(
            f"filter field {name!r}: {operator!r} is no comparison for it; "
            f"numbers take {', '.join(_SYMBOLS)}"
        )
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise InvalidFilter(f"filter field {name!r}: {operator} needs a number, not {bound!r}")
    return Condition(name, found, (_comparable(name, bound),))


def _scalar(name: str, value: object) -> Scalar:
    if name in _TEXT_FIELDS and not isinstance(value, str):
        raise InvalidFilter(f"filter field {name!r} needs text, not {value!r}")
    if name in _NUMBER_FIELDS and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidFilter(f"filter field {name!r} needs whole numbers, not {value!r}")
    if isinstance(value, bool | int | float | str):
        return _comparable(name, value)
    raise InvalidFilter(f"filter field {name!r}: {value!r} is neither text, number nor boolean")


def _comparable(name: str, value: Scalar) -> Scalar:
    """Return a value that Milvus can read: of 64 bits, finite, in unicode."""
    if isinstance(value, str):
        fits = not _SURROGATE.search(value)
    else:
        fits = _LEAST <= value < -_LEAST if isinstance(value, int) else math.isfinite(value)
    if not fits:
        raise InvalidFilter(f"filter field {name!r}: {value!r} cannot be compared")
    return value


def _equal(seen: object, value: Scalar) -> bool:
    """Compare as Milvus does: 1 is 1.0, but neither text nor true."""
    kinds = (bool, int | float, str)
    return seen == value and any(
        isinstance(seen, kind) and isinstance(value, kind)
        for kind in (kinds if isinstance(value, bool) else kinds[1:])
    )


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def _literal(value: Scalar) -> str:
    """Quote a value for Milvus; all characters but these stand for themselves."""
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    return json.dumps(value)
