"""Fusion of dense and BM25 scores for one query.

Chosen by measurement on XQuAD (tests/bench/retrieval.py): reciprocal ranks throw away how sure
each side is, and lose to BM25 alone where the embedding model does not know the language.  Scores
divided by the query's best keep it: a side that finds everything alike moves nothing.
"""

from collections.abc import Mapping


def fuse(
    dense: Mapping[str, float], bm25: Mapping[str, float], *, dense_weight: float
) -> dict[str, float]:
    """Return one score (0..1) for each chunk: the weighted sum of both, each over its best.

    ``dense``: cosine of every candidate; ``bm25``: score of those that BM25 found, the others
    count as 0; ``dense_weight``: 0..1.
    """
    best_cosine = max(dense.values(), default=0.0)
    best_bm25 = max(bm25.values(), default=0.0)
    return {
        name: dense_weight * _over(cosine, best_cosine)
        + (1 - dense_weight) * _over(bm25.get(name, 0.0), best_bm25)
        for name, cosine in dense.items()
    }


def _over(score: float, best: float) -> float:
    return max(score, 0.0) / best if best > 0 else 0.0
