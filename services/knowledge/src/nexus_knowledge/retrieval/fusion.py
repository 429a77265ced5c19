"""Fusion of dense and BM25 scores for one query."""

from collections.abc import Mapping


def fuse(
    dense: Mapping[str, float], bm25: Mapping[str, float], *, dense_weight: float
) -> dict[str, float]:
    """Return one score (0..1) for each chunk: a weighted sum of both, each on its own scale.

    ``dense``: cosine of every candidate; ``bm25``: score of those that BM25 found, the others
    count as 0; ``dense_weight``: 0..1.
    """
    top = max(bm25.values(), default=0.0)
    return {
        name: dense_weight * max(cosine, 0.0)
        + (1 - dense_weight) * (bm25.get(name, 0.0) / top if top > 0 else 0.0)
        for name, cosine in dense.items()
    }
