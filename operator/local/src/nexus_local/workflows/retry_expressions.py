"""`retryStrategy.expression`: a named subset of expr-lang.

Variables, all texts: `lastRetry.exitCode` (`-1` when the container never ended by itself),
`lastRetry.status`, `lastRetry.duration` (seconds), `lastRetry.message`, `retries`.
Supported: `== != < <= > >= in [...] contains startsWith endsWith matches && || and or not !`,
parentheses, numbers, quoted text, true, false, `asInt() asFloat() int() float()`.
"""

from collections.abc import Mapping

from nexus_local.workflows.errors import BadExpression
from nexus_local.workflows.evaluation import COMMON, Comparison, Meaning, Value, found, texts
from nexus_local.workflows.expressions import (
    Binary,
    Call,
    Expression,
    Grammar,
    Literal,
    Name,
    Not,
    Sequence,
    parse,
)

DIALECT = "retryStrategy.expression"
VARIABLES = (
    "lastRetry.duration",
    "lastRetry.exitCode",
    "lastRetry.message",
    "lastRetry.status",
    "retries",
)
TEXT_SIGNS: dict[str, Comparison] = {
    "contains": texts(lambda text, part: part in text),
    "startsWith": texts(str.startswith),
    "endsWith": texts(str.endswith),
    "matches": texts(found),
}
COMPARISONS = COMMON | TEXT_SIGNS
ORDERING = frozenset({"<", "<=", ">", ">="})


def whole(value: Value) -> float:
    """Return the integer that a text or a number stands for."""
    if isinstance(value, tuple):
        raise TypeError
    return float(int(value))


def number(value: Value) -> float:
    """Return the number that a text or a number stands for."""
    if isinstance(value, tuple):
        raise TypeError
    return float(value)


FUNCTIONS = {"asInt": whole, "int": whole, "asFloat": number, "float": number}
WORDS = {"and": "&&", "or": "||", "not": "!"}
GRAMMAR = Grammar(
    dialect=DIALECT,
    name=r"[^\W\d][\w.]*|-\d+(?:\.\d+)?",
    operators={**{sign: sign for sign in (*COMPARISONS, "&&", "||", "!")}, **WORDS},
    brackets=("[", "]"),
    functions=frozenset(FUNCTIONS),
)


def holds(text: str, variables: Mapping[str, str]) -> bool:
    """Evaluate a retry expression; raises BadExpression."""
    meaning = Meaning(
        DIALECT,
        text,
        lambda name: float(name) if name.startswith("-") else variables[name],
        COMPARISONS,
        FUNCTIONS,
    )
    return meaning.condition(check(text))


def check(text: str) -> Expression:
    """Read an expression and its names without evaluating it; raises BadExpression."""
    expression = parse(text, GRAMMAR)
    for name in names(expression):
        if name not in VARIABLES and not name.startswith("-"):
            raise BadExpression(
                f"{DIALECT} {text!r} names {name}; it may use {', '.join(VARIABLES)}"
            )
    kind_of(expression, text)
    return expression


def kind_of(expression: Expression, text: str) -> type | None:
    """Return the kind of value where Argo knows it before evaluation: float, str or bool.

    Raises BadExpression for a comparison whose known kinds can never fit, as Argo does even where
    the comparison would not be reached: `retries == 1` is refused, `lastRetry.exitCode == 1`,
    whose kind it does not know, is just false.
    """
    match expression:
        case Literal(value):
            return type(value)
        case Name(name):
            return {"retries": str}.get(name, float if name.startswith("-") else None)
        case Call(function, operand):
            kind_of(operand, text)
            return float if function in {"int", "float"} else None
        case Not(operand):
            kind_of(operand, text)
        case Binary(sign, left, right):
            _check_kinds(sign, left, right, text)
        case Sequence(items):
            kinds = {(kind_of(item, text), is_fraction(item)) for item in items}
            return kinds.pop()[0] if len(kinds) == 1 else None
    return bool


def is_fraction(expression: Expression) -> bool:
    """Whether this is a number with a fraction, a kind of its own in a list."""
    return (
        isinstance(expression, Literal)
        and isinstance(expression.value, float)
        and not expression.value.is_integer()
    )


def _check_kinds(sign: str, left: Expression, right: Expression, text: str) -> None:
    kinds = {kind_of(left, text), kind_of(right, text)} - {None}
    if sign in {"&&", "||"}:
        return
    textual = sign in TEXT_SIGNS
    if len(kinds) > 1 or (textual and kinds - {str}) or (sign in ORDERING and bool in kinds):
        raise BadExpression(
            f"{DIALECT} {text!r}: {sign} compares different kinds; write asInt(retries) or "
            "asInt(lastRetry.exitCode) to compare numbers"
        )


def names(expression: Expression) -> list[str]:
    """Return every name in an expression."""
    match expression:
        case Name(text):
            return [text]
        case Not(part) | Call(_, part):
            return names(part)
        case Binary(_, left, right):
            return names(left) + names(right)
        case Sequence(items):
            return [name for item in items for name in names(item)]
        case _:
            return []
