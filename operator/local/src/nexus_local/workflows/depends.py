"""`depends` and `dependencies`: when a task of a DAG may run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_local.workflows.errors import BadExpression
from nexus_local.workflows.expressions import Binary, Expression, Grammar, Name, Not, parse

GRAMMAR = Grammar(
    dialect="depends",
    name=r"[a-zA-Z0-9][-a-zA-Z0-9]*(?:\.[a-zA-Z]+)?",
    operators={"&&": "&&", "||": "||", "!": "!"},
    literals=False,
)
RESULTS = frozenset(
    {
        "Succeeded",
        "Failed",
        "Errored",
        "Skipped",
        "Omitted",
        "Daemoned",
        "AnySucceeded",
        "AllFailed",
    }
)
OVER_ITEMS = frozenset({"AnySucceeded", "AllFailed"})
DEFAULT_RESULTS = ("Succeeded", "Skipped", "Daemoned")  # what a bare task name stands for


@dataclass(frozen=True, slots=True)
class Depends:
    """A task's condition; `tasks` are those it names, in the order in which it names them."""

    expression: Expression | None
    tasks: tuple[str, ...]
    over_items: frozenset[str]
    """Tasks whose AnySucceeded or AllFailed is asked; they must fan out."""

    def holds(self, results: Callable[[str], Mapping[str, bool]]) -> bool:
        """Tell whether the task runs, now that every task it names has ended."""
        return self.expression is None or evaluate(self.expression, results)


def read_depends(task: Mapping[str, Any]) -> Depends:
    """Read the condition of a task of a DAG; raises BadExpression."""
    text = task.get("depends") or " && ".join(task.get("dependencies") or ())
    if not text:
        return Depends(None, (), frozenset())
    expression = parse(text, GRAMMAR)
    named = dict.fromkeys(names(expression))
    for name, result in named:
        if result and result not in RESULTS:
            raise BadExpression(
                f"depends expression {text!r} asks for {name}.{result}; a task result is one of "
                f"{', '.join(sorted(RESULTS))}"
            )
    over_items = frozenset(name for name, result in named if result in OVER_ITEMS)
    return Depends(expression, tuple(dict.fromkeys(name for name, _ in named)), over_items)


def names(expression: Expression) -> list[tuple[str, str]]:
    """Return every (task, result) of an expression; the result of a bare name is empty."""
    match expression:
        case Name(text):
            task, _, result = text.partition(".")
            return [(task, result)]
        case Not(operand):
            return names(operand)
        case Binary(_, left, right):
            return names(left) + names(right)
        case _:
            return []


def evaluate(expression: Expression, results: Callable[[str], Mapping[str, bool]]) -> bool:
    """Evaluate with `results(task) -> {result name: bool}`."""
    match expression:
        case Name(text):
            task, _, result = text.partition(".")
            wanted = (result,) if result else DEFAULT_RESULTS
            return any(results(task)[name] for name in wanted)
        case Not(operand):
            return not evaluate(operand, results)
        case Binary("&&", left, right):
            return evaluate(left, results) and evaluate(right, results)
        case Binary(_, left, right):
            return evaluate(left, results) or evaluate(right, results)
        case _:
            raise BadExpression(f"depends: {expression} is not a condition")
