"""`support`: how far the passages carry an answer, from embeddings and hard facts, without a judge.

Each sentence of the answer is scored by the nearest sentence of the passages (cosine of their
embeddings), times the share of its numbers, units and names that the passages state; the answer's
score is the mean over its sentences, weighted by their length.

Blind spots, which is why it is never called faithfulness: negation ("must not" against "must"),
who does what to whom, quantifiers (all, some), cause and order in time, and every false statement
in the passages' own words and numbers.  A true answer in other words, or in another language
than an embedder of one language knows, scores too low.  A refusal ("the documents do not say") has
no support either.  `tests/bench/support.py` prints its AUROC on perturbed pairs, by perturbation.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nexus_evaluation.metrics.facts import Facts, facts, words_of

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""Embeds texts: float32 [texts, dimension]; need not be of unit length."""

_FLOOR: Final = 0.2  # cosine that unrelated sentences of one language reach anyway
_SENTENCE_END = re.compile(r"(?<=[.!?])[\s]+(?=\S)|(?<=[\u3002\uff01\uff1f])|\n+")
_LONGEST: Final = 400  # sentences of the passages that are embedded


@dataclass(frozen=True, slots=True)
class Support:
    """The score and what it is made of, all from 0 to 1."""

    score: float
    similarity: float
    facts: float
    unsupported: Facts


def support(answer: str, passages: Sequence[str], embed: Embed) -> Support:
    """Score an answer against its passages; 0 without an answer or passages.

    ``embed`` is called once.  Raises ``ValueError`` when it gives another number of vectors.
    """
    told = sentences(answer)
    sources = [sentence for passage in passages for sentence in sentences(passage)][:_LONGEST]
    if not told or not sources:
        return Support(0.0, 0.0, 0.0, facts(answer))
    vectors = _unit(embed([*told, *sources]), len(told) + len(sources))
    nearest = (vectors[: len(told)] @ vectors[len(told) :].T).max(axis=1)
    similarity = np.clip((nearest - _FLOOR) / (1.0 - _FLOOR), 0.0, 1.0)
    source = _stated(passages)
    carried = np.array([_carried(facts(sentence), source) for sentence in told])
    weights = np.array([len(sentence) for sentence in told], dtype=float)
    weights /= weights.sum()
    return Support(
        score=_mean(weights, similarity * carried),
        similarity=_mean(weights, similarity),
        facts=_mean(weights, carried),
        unsupported=facts(answer).unsupported_by(source),
    )


def sentences(text: str) -> list[str]:
    """Split into sentences, coarsely: at end marks followed by space, and at line ends."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def _mean(weights: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> float:
    # Rounding adds up to a little over 1, which the gate would refuse; NaN stays what it is.
    return float(np.minimum(weights @ shares, 1.0))


def _stated(passages: Sequence[str]) -> Facts:
    text = "\n".join(passages)
    return Facts(facts(text).quantities, words_of(text))


def _carried(told: Facts, source: Facts) -> float:
    return 1.0 - len(told.unsupported_by(source)) / len(told) if len(told) else 1.0


def _unit(vectors: Vectors, count: int) -> npt.NDArray[np.float64]:
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != count:  # noqa: PLR2004 - rows and columns
        raise ValueError(f"the embedder gave an array of {rows.shape} for {count} texts")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = rows / np.where(lengths > 0, lengths, 1.0)
    return unit
