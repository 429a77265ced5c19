"""Rules of `x-kubernetes-validations`, run with cel-python and with a kube-apiserver's answers.

The two implementations agree on a subset of CEL, and rules must stay within it (checked when a rule
is compiled):

- the names `self` and `oldSelf`; a rule with oldSelf is a transition rule and runs on updates only;
- literals: integers, strings, booleans, lists;
- field access `self.a.b`, `has(self.a)`;
- `&&`, `||`, `!`, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `+`, `-`, the ternary `a ? b : c`;
- functions `size`, `duration`; methods `size`, `matches`, `contains`, `startsWith`, `endsWith`;
- in message expressions `'... %d'.format([...])`, with %d and %s only (`string()` and `+` make
  texts of unknown length, whose estimated cost the API server refuses).

No macros over lists and maps (all, exists, map, filter): nothing iterates, so a rule's cost stays
within the API server's limits as long as strings have a maxLength.

cel-python takes a quarter of a second to import: it is loaded when the first rule runs, and
compiled rules are kept.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

from nexus_api.problems import Problem, Sort
from nexus_api.schema import Schema
from nexus_api.structural import MISSING, old_item, same, type_name

FUNCTIONS = frozenset(
    {"has", "size", "duration", "matches", "contains", "startsWith", "endsWith", "format"}
)
_VARIABLES = frozenset({"self", "oldSelf"})
_CALLS = frozenset({"ident_arg", "member_dot_arg"})
_NODES = _CALLS | {
    "expr",
    "conditionalor",
    "conditionaland",
    "relation",
    "relation_lt",
    "relation_le",
    "relation_gt",
    "relation_ge",
    "relation_eq",
    "relation_ne",
    "relation_in",
    "addition",
    "addition_add",
    "addition_sub",
    "multiplication",
    "unary",
    "unary_not",
    "member",
    "member_dot",
    "primary",
    "paren_expr",
    "ident",
    "literal",
    "list_lit",
    "exprlist",
}
_SORTS: dict[str, Sort] = {
    "": "Invalid value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueRequired": "Required value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
}


class UnsupportedRule(ValueError):
    """A rule is no CEL, or uses more of it than the stated subset."""


@cache
def _environment() -> Any:
    import celpy

    limit = sys.getrecursionlimit()
    environment = celpy.Environment()
    sys.setrecursionlimit(limit)  # it raises the limit of the whole process
    return environment


@cache
def program(rule: str) -> Callable[[dict[str, Any]], Any]:
    """Compile a rule; the result takes values of `as_cel` by name.  Raises UnsupportedRule."""
    from celpy.celparser import CELParseError

    environment = _environment()
    try:
        tree = environment.compile(rule)
    except CELParseError as error:
        raise UnsupportedRule(f"{rule!r} is no CEL: {error}") from error
    for node in tree.iter_subtrees():
        name = str(node.data)
        if name not in _NODES:
            raise UnsupportedRule(f"{rule!r} uses {name}, which is outside the subset")
        if name == "ident" and str(node.children[0]) not in _VARIABLES:
            raise UnsupportedRule(f"{rule!r} names {node.children[0]}, which is not defined")
        if name in _CALLS:
            called = next(str(child) for child in node.children if not hasattr(child, "data"))
            if called not in FUNCTIONS:
                raise UnsupportedRule(f"{rule!r} calls {called}, which is outside the subset")
    compiled = environment.program(tree, functions={"format": _format})

    return cast("Callable[[dict[str, Any]], Any]", compiled.evaluate)


class _NoInteger:
    """Stands for 1.0 where the schema says integer: the API server's CEL cannot read it either."""

    MESSAGE = "invalid data, expected int, got float64"

    def _refuse(self, _: object = None) -> bool:
        raise TypeError(self.MESSAGE)

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = _refuse
    __sub__ = __rsub__ = __contains__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def as_cel(value: Any, schema: Schema) -> Any:
    """Return a JSON value as a rule sees it."""
    from celpy import celtypes
    from celpy.adapter import json_to_cel

    if isinstance(value, dict):
        known, free = schema.get("properties", {}), schema.get("additionalProperties", {})
        fields = {
            celtypes.StringType(name): as_cel(child, known.get(name, free))
            for name, child in value.items()
        }
        return celtypes.MapType(fields)
    if isinstance(value, list):
        return celtypes.ListType([as_cel(item, schema.get("items", {})) for item in value])
    if isinstance(value, float) and schema.get("type") == "integer":
        return _NoInteger()
    return json_to_cel(value)


def _format(text: Any, values: Any) -> Any:
    """The method `format` of Kubernetes' CEL, for %d and %s."""
    from celpy.celtypes import StringType

    left = iter(values)
    return StringType(re.sub("%[ds]", lambda _: str(next(left)), str(text)))


def uses_old(rule: str) -> bool:
    """Whether a rule compares with the old value."""
    return "oldSelf" in rule


def broken_rules(
    value: Any, schema: Schema, path: str = "", old: Any = MISSING, *, unchanged: bool = False
) -> Iterator[Problem]:
    """Yield the rules that a value, or something below it, breaks.

    `unchanged` tells that the nearest part with an old value is as it was: then only transition
    rules can be broken.
    """
    if value is None:
        return
    if old is not MISSING:
        unchanged = same(value, old)
    yield from _broken_here(value, schema, path, old, unchanged=unchanged)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        known, free = schema.get("properties", {}), schema.get("additionalProperties")
        for name, child in value.items():
            was = before.get(name, MISSING)
            if name in known:
                where = f"{path}.{name}" if path else name
                yield from broken_rules(child, known[name], where, was, unchanged=unchanged)
            elif free is not None:
                where = f"{path}[{name}]"
                yield from broken_rules(child, free, where, was, unchanged=unchanged)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            was = old_item(old, item, schema)
            where = f"{path}[{index}]"
            yield from broken_rules(item, schema["items"], where, was, unchanged=unchanged)


def _broken_here(
    value: Any, schema: Schema, path: str, old: Any, *, unchanged: bool
) -> Iterator[Problem]:
    for rule in schema.get("x-kubernetes-validations", ()):
        transition = uses_old(rule["rule"])
        if transition and (old is MISSING or old is None):
            continue
        if unchanged and not transition:
            continue
        problem = _look(rule, value, schema, path, old)
        if problem is not None:
            yield problem


def _look(rule: dict[str, str], value: Any, schema: Schema, path: str, old: Any) -> Problem | None:
    from celpy.evaluation import CELEvalError

    values = {"self": as_cel(value, schema)}
    if uses_old(rule["rule"]):
        values["oldSelf"] = as_cel(old, schema)
    where = (path + rule.get("fieldPath", "")).removeprefix(".") or "<nil>"
    text = rule.get("message") or f"failed rule: {rule['rule']}"
    try:
        if bool(program(rule["rule"])(values)):
            return None
        if "messageExpression" in rule:
            text = str(program(rule["messageExpression"])(values))
    except CELEvalError as error:
        reason = str(error.args[0]) if error.args else "no result"
        if _NoInteger.__name__ in reason:
            reason = _NoInteger.MESSAGE
        message = f"{reason} evaluating rule: {text}"
        return Problem(path, _at(value, ""), rule["rule"], message)
    sort = _SORTS[rule.get("reason", "")]
    return Problem(where, _at(value, rule.get("fieldPath", "")), rule["rule"], text, sort=sort)


def _at(value: Any, field_path: str) -> Any:
    """The value that a rule is about; an object is shown as such and not in full."""
    for name in filter(None, field_path.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    return type_name(value) if isinstance(value, dict | list) else value
