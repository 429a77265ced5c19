"""`when`: Argo's conditions, a named subset of govaluate.

Supported: `== != < <= > >= =~ !~ in && || !`, parentheses, numbers, quoted text, true, false and
bare words, which stand for themselves as text (`{{item.kind}} == pdf`). Numbers compare with
numbers and text with text: `"5" == 5` is false, and `"5" > 4` is an error, as in Argo.
Arithmetic, `?:` and functions are refused.
"""

from nexus_local.workflows.evaluation import COMMON, Comparison, Meaning, Value, found, texts
from nexus_local.workflows.expressions import Grammar, parse

COMPARISONS: dict[str, Comparison] = {
    **COMMON,
    "=~": texts(found),
    "!~": texts(lambda text, pattern: not found(text, pattern)),
}
GRAMMAR = Grammar(
    dialect="when",
    name=r"[^\W\d]\w*|-\d+(?:\.\d+)?",  # a negative number is read here, since `-` is no operator
    operators={sign: sign for sign in (*COMPARISONS, "&&", "||", "!")},
)


def holds(when: str) -> bool:
    """Evaluate a `when` whose references are all filled in; raises BadExpression."""
    meaning = Meaning("when", when, bare_word, COMPARISONS)
    return meaning.condition(parse(when, GRAMMAR))


def bare_word(text: str) -> Value:
    """Return a negative number as a number, any other word as itself."""
    return float(text) if text.startswith("-") else text
