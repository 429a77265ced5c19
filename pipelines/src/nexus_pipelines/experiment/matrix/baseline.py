"""The heuristic that models are held against: a sentence that is there already.  Pure."""

import re
from collections.abc import Sequence

from nexus_evaluation.metrics.support import sentences
from nexus_evaluation.metrics.words import words

_WRAPPED = re.compile(r"(?<!\n)\n(?!\n)")  # a line's end inside a paragraph


def best_sentence(question: str, passages: Sequence[str], language: str = "") -> str:
    """Return the sentence that shares most words with the question; empty without passages.

    The best passage is chosen first, then the best sentence of it; of equals the first one, so
    that a search's order counts.  Words count once, and long texts win nothing by their length
    but more words.
    """
    asked = set(words(question, language))

    def shared(text: str) -> int:
        return len(asked & set(words(text, language)))

    passage = max(passages, key=shared, default="")
    return max(sentences(_WRAPPED.sub(" ", passage)), key=shared, default="")
