"""Words of an answer as overlap metrics compare them, in any script."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

# Articles carry no content where they are words of their own.  English as in SQuAD (Rajpurkar et
# al. 2016), German and Spanish as in MLQA (Lewis et al. 2020); elsewhere nothing is removed.
_ARTICLES: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(articles.split())
    for language, articles in {
        "en": "a an the",
        "de": "ein eine einen einem eines einer der die das den dem des",
        "es": "un una unos unas el la los las",
    }.items()
}
# Scripts without spaces: each character is a word, as in MLQA and XQuAD.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f])"
)
# Marks that make another number when they go: 1.5 is not 15, -5 not 5, 5 % not 5.
_IN_NUMBER = re.compile(r"(?<=\d)[.,:/](?=\d)|(?<![\w.,])[-\u2212](?=\d)|%")


def normalised(text: str, language: str = "") -> str:
    """Fold case, width and composition; drop punctuation outside numbers, and articles."""
    return " ".join(words(text, language))


def words(text: str, language: str = "", *, articles: bool = False) -> list[str]:
    """Split into comparable words; ``articles`` keeps those that the language has."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = {match.start() for match in _IN_NUMBER.finditer(folded)}
    plain = "".join(
        char if place in kept or not _separates(char) else " " for place, char in enumerate(folded)
    ).replace("\u2212", "-")
    found = _UNSPACED.sub(r" \1 ", plain).split()
    dropped = frozenset[str]() if articles else _ARTICLES.get(primary(language), frozenset())
    # An answer that is nothing but articles stays as it is: it must not equal an empty one.
    return [word for word in found if word not in dropped] or found


def primary(language: str) -> str:
    """Give the primary subtag of a BCP 47 tag, in lower case."""
    return language.partition("-")[0].lower()


def _separates(char: str) -> bool:
    # Apostrophes bind: don't is one word.  Marks (category M) belong to their letter.
    return char not in "'\u2019" and unicodedata.category(char)[0] in "PZC"
