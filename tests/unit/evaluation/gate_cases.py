"""Golden sets and results that the gate's tests share."""

from collections.abc import Sequence
from random import Random

from nexus_evaluation.gate import GoldenKey
from nexus_evaluation.results import ItemResult, Slices

DIGEST = "sha256:golden"
LANGUAGES = ("en", "de", "es")


def golden(items: int, documents: int) -> GoldenKey:
    return GoldenKey(DIGEST, {f"q{at:04}": f"doc{at % documents}" for at in range(items)})


def results(
    key: GoldenKey, scores: Sequence[float], metric: str = "f1", answer: str = "answer"
) -> list[ItemResult]:
    """Give each item its score; answers differ where scores do."""
    return [
        ItemResult(
            id=name,
            cluster=document,
            slices=Slices(language=LANGUAGES[at % 3], topic=f"topic {at % 4}"),
            answer=f"{answer} {score}",
            metrics={metric: score},
        )
        for at, ((name, document), score) in enumerate(
            zip(key.documents.items(), scores, strict=True)
        )
    ]


def drawn(random: Random, items: int, metric: str, level: float) -> list[float]:
    """Draw scores around a level: 0 or 1 for a binary metric."""
    if metric == "exactMatch":
        return [float(random.random() < level) for _ in range(items)]
    return [min(max(random.gauss(level, 0.2), 0.0), 1.0) for _ in range(items)]


def improved(
    random: Random, scores: Sequence[float], metric: str, share: float, by: float
) -> list[float]:
    """Raise a share of the scores, to 1 for a binary metric."""
    top = 1.0 if metric == "exactMatch" else by
    return [min(score + top, 1.0) if random.random() < share else score for score in scores]


def worsened(
    random: Random, scores: Sequence[float], metric: str, share: float, by: float
) -> list[float]:
    """Lower a share of the scores, to 0 for a binary metric."""
    down = 1.0 if metric == "exactMatch" else by
    return [max(score - down, 0.0) if random.random() < share else score for score in scores]
