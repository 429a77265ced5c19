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
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

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

    return celpy.Environment()


@cache
def program(rule: str) -> Callable[[dict[str, Any]], Any]:
    """Compile a rule; the result takes JSON values by name.  Raises UnsupportedRule."""
    from celpy.adapter import json_to_cel
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

    def run(values: dict[str, Any]) -> Any:
        return compiled.evaluate({k: json_to_cel(v) for k, v in values.items()})

    return run


def _format(text: Any, values: Any) -> Any:
    """The method `format` of Kubernetes' CEL, for %d and %s."""
    from celpy.celtypes import StringType

    return StringType(re.sub("%[ds]", "{}", str(text)).format(*values))


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
        problem = _look(rule, value, path, old)
        if problem is not None:
            yield problem


def _look(rule: dict[str, str], value: Any, path: str, old: Any) -> Problem | None:
    from celpy.evaluation import CELEvalError

    values = {"self": value}
    if uses_old(rule["rule"]):
        values["oldSelf"] = old
    where = (path + rule.get("fieldPath", "")).removeprefix(".") or "<nil>"
    text = rule.get("message") or f"failed rule: {rule['rule']}"
    try:
        if bool(program(rule["rule"])(values)):
            return None
        if "messageExpression" in rule:
            text = str(program(rule["messageExpression"])(values))
    except CELEvalError as error:
        reason = error.args[0] if error.args else error
        return Problem(path, value, rule["rule"], f"{reason} evaluating rule: {text}")
    sort = _SORTS[rule.get("reason", "")]
    return Problem(where, _at(value, rule.get("fieldPath", "")), rule["rule"], text, sort=sort)


def _at(value: Any, field_path: str) -> Any:
    """The value that a rule is about; an object is shown as such and not in full."""
    for name in filter(None, field_path.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    return type_name(value) if isinstance(value, dict | list) else value
