"""Evaluating what `expressions` reads, for the dialects that compare values."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nexus_local.workflows.errors import BadExpression
from nexus_local.workflows.expressions import (
    Binary,
    Call,
    Expression,
    Literal,
    Name,
    Not,
    Sequence,
)

Value: TypeAlias = str | float | bool | tuple["Value", ...]
Comparison: TypeAlias = Callable[[Value, Value], bool]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What names, signs and functions mean in one dialect.

    A comparison raises TypeError, and a function ValueError or TypeError, for values it cannot
    take; both become a BadExpression that shows the text.
    """

    dialect: str
    text: str
    name: Callable[[str], Value]
    comparisons: Mapping[str, Comparison]
    functions: Mapping[str, Callable[[Value], Value]] = field(default_factory=dict)

    def condition(self, expression: Expression) -> bool:
        """Evaluate to true or false; anything else is a BadExpression."""
        match expression:
            case Not(operand):
                return not self.condition(operand)
            case Binary("&&", left, right):
                return self.condition(left) and self.condition(right)
            case Binary("||", left, right):
                return self.condition(left) or self.condition(right)
        value = self.value(expression)
        if not isinstance(value, bool):
            raise self._error(f"is not a condition: {value!r} is neither true nor false")
        return value

    def value(self, expression: Expression) -> Value:
        """Evaluate to a value."""
        match expression:
            case Literal(value):
                return value
            case Name(text):
                return self.name(text)
            case Sequence(items):
                return tuple(self.value(item) for item in items)
            case Call(function, argument):
                return self._call(function, self.value(argument))
            case Binary(sign, left, right) if sign in self.comparisons:
                return self._compare(sign, self.value(left), self.value(right))
            case _:
                return self.condition(expression)

    def _call(self, function: str, argument: Value) -> Value:
        try:
            return self.functions[function](argument)
        except (TypeError, ValueError) as error:
            raise self._error(f"cannot take {function}({argument!r})") from error

    def _compare(self, sign: str, left: Value, right: Value) -> bool:
        try:
            return self.comparisons[sign](left, right)
        except TypeError as error:
            raise self._error(f"cannot compare {left!r} {sign} {right!r}") from error
        except re.error as error:
            raise self._error(f"has a bad regular expression {right!r}: {error}") from error

    def _error(self, why: str) -> BadExpression:
        return BadExpression(f"{self.dialect} expression {self.text!r} {why}")


def same(left: Value, right: Value) -> bool:
    """Equal and of one kind: the text "5" is not the number 5."""
    return type(left) is type(right) and left == right


def ordered(compare: Callable[[Any, Any], bool]) -> Comparison:
    """Make an ordering that takes two texts or two numbers, nothing else."""

    def check(left: Value, right: Value) -> bool:
        if type(left) is not type(right) or not isinstance(left, str | float):
            raise TypeError
        return compare(left, right)

    return check


def texts(compare: Callable[[str, str], bool]) -> Comparison:
    """Make a comparison that takes two texts, nothing else."""

    def check(left: Value, right: Value) -> bool:
        if not (isinstance(left, str) and isinstance(right, str)):
            raise TypeError
        return compare(left, right)

    return check


def among(left: Value, right: Value) -> bool:
    """Whether the list on the right holds the value on the left."""
    return isinstance(right, tuple) and any(same(left, entry) for entry in right)


def found(text: str, pattern: str) -> bool:
    """Whether a regular expression matches anywhere in the text."""
    return re.search(pattern, text) is not None


COMMON: dict[str, Comparison] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": ordered(operator.lt),
    "<=": ordered(operator.le),
    ">": ordered(operator.gt),
    ">=": ordered(operator.ge),
    "in": among,
}
