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
    cosine_scale = _inverse(max(dense.values(), default=0.0))
    bm25_scale = _inverse(max(bm25.values(), default=0.0))
    return {
        name: dense_weight * max(cosine, 0.0) * cosine_scale
        + (1 - dense_weight) * bm25.get(name, 0.0) * bm25_scale
        for name, cosine in dense.items()
    }


def _inverse(top: float) -> float:
    return 1.0 / top if top > 0 else 0.0
