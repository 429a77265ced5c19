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
COMPARISONS: dict[str, Comparison] = {
    **COMMON,
    "contains": texts(lambda text, part: part in text),
    "startsWith": texts(str.startswith),
    "endsWith": texts(str.endswith),
    "matches": texts(found),
}


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
    return expression


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
