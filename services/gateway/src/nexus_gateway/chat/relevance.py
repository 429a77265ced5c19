"""Which hits are worth showing to a model, by meaning or by rare words.  Pure.

The cosine of a small embedding model is low for names and for words that it has not learnt, even
where a passage holds the question almost word for word.  Such a passage counts as relevant too,
under conditions that a question on something else does not meet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nexus_knowledge.prompting.support import terms
from nexus_knowledge.retrieval import Hit

FAR_BEHIND = 0.5
LEXICAL_SHARE = 0.75  # of the question's own words that a passage must hold
LEXICAL_WORDS = 2  # and at least so many of them: one word alone is found anywhere
LEXICAL_NEARNESS = 0.5  # of minScore, which the cosine must still reach

# Words that ask or join and name nothing.  Only English is known: in other languages they count
# like any other word and passages lack them, so there the rule is stricter, never looser.
_ASKING = (
    "a about after again all also am an and any are as at be been before but by can could did do"
    " does during for from get give had has have how i if in into is it its long many may me might"
    " much must my no not of often old on one or our shall she should so some tell than that the"
    " their them then there these they this those to under up us was we were what when where"
    " which who whom whose why will with would you your"
)
_FUNCTION = frozenset(_ASKING.split())
_NAMING = re.compile(r"\w+")


def relevant(question: str, hits: Sequence[Hit], min_score: float) -> list[Hit]:
    """Return the hits worth showing, in their order.

    Their cosine is at least `min_score`, or unknown (mode bm25), or they hold the question's own
    words (`matches_words`); and their score is at least half of the best one's: what is far
    behind costs time to read and leads small models astray.
    """
    words = naming_words(question)
    near = [
        hit
        for hit in hits
        if hit.dense_score is None
        or hit.dense_score >= min_score
        or (hit.dense_score >= min_score * LEXICAL_NEARNESS and matches_words(words, hit))
    ]
    enough = max((hit.score for hit in near), default=0.0) * FAR_BEHIND
    return [hit for hit in near if hit.score >= enough]


def naming_words(question: str) -> frozenset[str]:
    """Return the stems of the words that say what a question is about."""
    kept = (word for word in _NAMING.findall(question) if word.casefold() not in _FUNCTION)
    return frozenset(terms(" ".join(kept)))


def matches_words(words: frozenset[str], hit: Hit) -> bool:
    """Tell whether a hit holds nearly all of a question's own words, and more than one."""
    held = len(words & frozenset(terms(f"{hit.section} {hit.text}")))
    return held >= LEXICAL_WORDS and held >= LEXICAL_SHARE * len(words)
