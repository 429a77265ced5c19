"""The sentences of the passages that say most about a question.  Pure.

They are repeated right before the question: a small model reads a passage of ten sentences and
answers from the wrong one, but does well with the right one next to the question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from nexus_knowledge.prompting.support import sentences, terms

MOST = 2
ENOUGH = 0.3  # share of the question's weighted words that a sentence must hold
CLOSE = 0.8  # a second sentence says nearly as much as the best
LONGEST = 400  # characters: what is longer is a table or a list, not a sentence


def key_sentences(question: str, passages: Sequence[str]) -> list[str]:
    """Return at most two sentences, best first, of passages given in the order of their rank."""
    found = [
        sentence
        for passage in passages
        for sentence in sentences(passage)
        if len(sentence) <= LONGEST
    ]
    bags = [frozenset(terms(sentence)) for sentence in found]
    wanted = frozenset(terms(question))
    holders = Counter(term for bag in bags for term in bag & wanted)
    weight = {term: math.log((len(bags) + 1) / (holders[term] + 0.5)) for term in holders}
    total = sum(weight.values())
    if total <= 0:
        return []
    scores = [sum(weight[term] for term in bag & wanted) / total for bag in bags]
    best = max(scores)
    ranked = sorted(range(len(found)), key=lambda n: -scores[n])
    enough = max(ENOUGH, best * CLOSE)
    return [found[n] for n in ranked if scores[n] >= enough][:MOST]
