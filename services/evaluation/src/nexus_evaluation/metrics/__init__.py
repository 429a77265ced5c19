"""Scores of one answer, each from 0 to 1; the names are those of FineTuneJob's metrics."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics.declared import facts_held
from nexus_evaluation.metrics.overlap import bleu, chrf, exact_match, rouge_l, token_f1
from nexus_evaluation.metrics.support import Embed, support
from nexus_evaluation.metrics.toxicity import toxicity

OVERLAP: Final[Mapping[str, Callable[[str, tuple[str, ...], str], float]]] = {
    "exactMatch": exact_match,
    "f1": token_f1,
    "rougeL": rouge_l,
    "bleu": bleu,
    "chrf": chrf,
}
GRADED: Final = frozenset({"coherence", "conciseness", "fluency"})
"""Metrics that a judge grades from 1 to 5 by the answer alone: (grade - 1) / 4."""
JUDGED: Final = frozenset({"faithfulness", "contextPrecision"}) | GRADED
"""Metrics that a language model judges: no function here computes them."""
BINARY: Final = frozenset({"exactMatch"})
"""Metrics that are 0 or 1 for each item."""
LOWER_IS_BETTER: Final = frozenset({"toxicity"})


def score(
    answer: str, item: GoldenItem, metrics: Iterable[str], embed: Embed | None = None
) -> dict[str, float]:
    """Score an answer to a golden item by the named metrics, and its toxicity always.

    Raises ``ValueError`` for a metric that nobody knows, for `support` without ``embed``, and for
    `facts` of an item that declares none.
    """
    scores = {"toxicity": toxicity(answer)}
    for name in metrics:
        if name in OVERLAP:
            scores[name] = OVERLAP[name](answer, item.references, item.language)
        elif name == "facts" and item.facts:
            scores[name] = facts_held(answer, item.facts, item.language)
        elif name == "support" and embed is not None:
            passages = [context.text for context in item.contexts]
            scores[name] = support(answer, passages, embed).score
        elif name != "toxicity":
            raise ValueError(f"metric {name!r} cannot be computed here")
    return scores
