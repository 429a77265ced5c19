"""Which passages support an answer, judged by the words that they share.  Pure.

The model is not asked to cite: small models invent numbers.  Each sentence of the answer is
compared with each passage; words that few passages hold weigh more, numbers most.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

ENOUGH = 0.4  # share of a sentence's weighted words that a passage must hold
CLOSE = 0.9  # a second passage is cited beside the best when it supports nearly as much
NUMBER_WEIGHT = 2.0

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_SENTENCE = re.compile(r"[^\n.!?。！？]*(?:[.!?](?!\s|$)[^\n.!?。！？]*)*[.!?。！？]*\n?")  # noqa: RUF001 - CJK full stops are meant
_SHORT = 2
_STEM = 5


class Support(NamedTuple):
    """A sentence of the answer, answer[start:end], and the passages behind it, best first."""

    start: int
    end: int
    passages: tuple[int, ...]


def supports(answer: str, passages: Sequence[str]) -> list[Support]:
    """Return, for each sentence that a passage supports, the positions of those passages."""
    bags = [frozenset(terms(text)) for text in passages]
    found = []
    for match in _SENTENCE.finditer(answer):
        words = terms(match.group())
        if not words:
            continue
        weights = {word: _weight(word, bags) for word in words}
        scores = [_share(weights, bag) for bag in bags]
        best = max(scores, default=0.0)
        if best < ENOUGH:
            continue
        ranked = sorted(range(len(scores)), key=lambda n: -scores[n])
        cited = tuple(n for n in ranked if scores[n] >= best * CLOSE)[:2]
        start = match.start() + len(match.group()) - len(match.group().lstrip())
        found.append(Support(start, match.start() + len(match.group().rstrip()), cited))
    return found


def _share(weights: Mapping[str, float], bag: frozenset[str]) -> float:
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in bag) / total


def _weight(term: str, bags: Sequence[frozenset[str]]) -> float:
    holders = sum(term in bag for bag in bags)
    rarity = 1.0 + math.log((len(bags) + 1) / (holders + 1))
    return rarity * (NUMBER_WEIGHT if term[0].isdigit() else 1.0)


def sentences(text: str) -> list[str]:
    """Return a text's sentences, without the space around them."""
    found = (match.group().strip() for match in _SENTENCE.finditer(text))
    return [sentence for sentence in found if sentence]


def terms(text: str) -> list[str]:
    """Return a text's words, folded and cut to stems; numbers whole, short words left out."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(c for c in folded if not unicodedata.combining(c))
    return [
        word if word[0].isdigit() else word[:_STEM]
        for word in _WORD.findall(folded)
        if word[0].isdigit() or len(word) > _SHORT or not word.isascii()
    ]
