"""Scores sampled answers by the embedder, a few in each look, and remembers them."""

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

from nexus_evaluation.metrics.support import Embed, Vectors, support
from nexus_knowledge.errors import EmbeddingError
from nexus_knowledge.ledger import Response
from nexus_monitor.supported import SUPPORTED, Supported, passages, sampled

LOG = logging.getLogger(__name__)
_LONGEST_SENTENCE = 300  # characters: what any embedder reads whole
_LONGEST_ANSWER = 4_000  # characters that are looked at
_NAMED = 20  # ids of unsupported answers


class Scores:
    """Which answers are supported, as far as the embedder was asked.

    A cache alone: a monitor that starts anew scores the same answers again.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Vectors]) -> None:
        """Make it; nothing is asked yet."""
        self._embed = embed
        self._known: dict[str, bool | None] = {}  # by id; None where it cannot be told
        self._asked: set[str] = set()

    def of(self, answers: Sequence[Response], *, more: int) -> Supported:
        """Score so many more of a sample of the answers, and tell what all of its scores say.

        Raises EmbeddingError when the embedder is away; what was scored is kept.
        """
        sample = sampled(answers)
        self._asked.update(one.response_id for one in sample)
        unknown = [one for one in sample if one.response_id not in self._known]
        embed = _once(self._embed)
        for one in unknown[:more]:
            self._known[one.response_id] = _supported(one, embed)
        told = [(one.response_id, self._known.get(one.response_id)) for one in sample]
        return Supported(
            answers=len(answers),
            scored=sum(one is not None for _, one in told),
            supported=sum(one is True for _, one in told),
            unsupported=tuple(key for key, one in told if one is False)[:_NAMED],
        )

    def forget(self) -> None:
        """Forget what was in no sample since this was called last."""
        self._known = {key: told for key, told in self._known.items() if key in self._asked}
        self._asked = set()


def _supported(response: Response, embed: Embed) -> bool | None:
    try:
        score = support(response.answer[:_LONGEST_ANSWER], passages(response), embed).score
    except EmbeddingError as error:
        if error.transient:
            raise
        LOG.warning("answer %s is not scored: %s", response.response_id, error)
        return None
    return None if math.isnan(score) else score >= SUPPORTED


def _once(embed: Callable[[Sequence[str]], Vectors]) -> Embed:
    """Embed each sentence once: many answers are given from the same passages."""
    known: dict[str, np.ndarray] = {}

    def embedding(texts: Sequence[str]) -> Vectors:
        cut = [text[:_LONGEST_SENTENCE] for text in texts]
        new = [text for text in dict.fromkeys(cut) if text not in known]
        if new:
            known.update(zip(new, embed(new), strict=True))
        return np.stack([known[text] for text in cut])

    return embedding
