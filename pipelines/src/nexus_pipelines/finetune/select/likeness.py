"""When two texts say the same: equal but for case and punctuation, or nearly so.  Pure.

Near likeness is the Jaccard index over runs of three words (Broder 1997).  Two texts of one
pattern that differ in a number or a name are about different things, however alike they look,
so their numbers and names must agree as well.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

NEAR = 0.8  # of the runs of words in either text
_RUN = 3
_HASHES = 128
_BAND = 8  # of them: 95 % of the pairs of likeness 0.8 and 99.4 % of 0.85 share a band
_PRIME = np.uint64((1 << 31) - 1)
_WORD = re.compile(r"\w+")
_WORD_OR_END = re.compile(r"[\w][\w.,/-]*[\w]|\w|[.!?:\n]")
_DIGIT = re.compile(r"\d")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")

# Format characters (joiners, soft hyphens, marks of direction, tags), and what else Unicode lets
# fonts ignore: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point.
_IGNORABLE = (
    *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE1000),
)
_INVISIBLE = dict.fromkeys(
    [
        *(one for one in range(0x20000) if unicodedata.category(chr(one)) == "Cf"),
        *_IGNORABLE,
    ]
)

Band = tuple[int, bytes, frozenset[str]]
"""A place of the signature, what stands there, and the numbers and names of the text."""

_coefficients = np.random.default_rng(20240501).integers(
    1, int(_PRIME), size=(2, _HASHES, 1), dtype=np.uint64
)


def normalised(text: str) -> str:
    """Fold case, widths and punctuation: texts that differ in nothing else are the same.

    What nobody sees goes too: a soft hyphen in each word must not make a golden question another.
    """
    seen = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    return " ".join(_WORD.findall(seen.casefold()))


def shingles(text: str) -> frozenset[str]:
    """Return the runs of three words of a text; scripts without spaces count by character."""
    words = normalised(text).split()
    units = [one for word in words for one in (word if _UNSPACED.search(word) else [word])]
    if len(units) < _RUN:
        return frozenset([" ".join(units)]) if units else frozenset()
    return frozenset(" ".join(units[n : n + _RUN]) for n in range(len(units) - _RUN + 1))


def particulars(text: str) -> frozenset[str]:
    """Return the numbers and names of a text: words with a digit, or with a capital inside one.

    The first word of a sentence is capital by rule, so it says nothing.
    """
    found = set()
    first = True
    for word in _WORD_OR_END.findall(text.translate(_INVISIBLE)):
        if word in {".", "!", "?", ":", "\n"}:
            first = True
            continue
        if (not first and word != word.lower()) or _DIGIT.search(word):
            found.add(word.casefold())
        first = False
    return frozenset(found)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of runs that two texts have in common; 1 for two empty ones."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0


class NearIndex:
    """Finds the texts that may be near to a given one, without comparing all pairs.

    Signatures by MinHash, looked up by bands of eight: what is found is then compared exactly, so
    that chance decides only what is looked at, and that by fixed coefficients.
    """

    def __init__(self) -> None:
        self._bands: dict[Band, list[int]] = {}
        self._shingles: list[frozenset[str]] = []

    def add(self, text: str) -> int:
        """Add a text; return its number."""
        runs = shingles(text)
        return self._add(runs, list(_bands(runs, particulars(text))))

    def near(self, text: str) -> list[int]:
        """Return the numbers of the texts that are near, in the order in which they were added."""
        runs = shingles(text)
        return self._near(runs, list(_bands(runs, particulars(text))))

    def add_unless_near(self, text: str) -> bool:
        """Add a text if none that is near was added before; say whether it was added."""
        runs = shingles(text)
        bands = list(_bands(runs, particulars(text)))
        if self._near(runs, bands):
            return False
        self._add(runs, bands)
        return True

    def _add(self, runs: frozenset[str], bands: Iterable[Band]) -> int:
        number = len(self._shingles)
        self._shingles.append(runs)
        for band in bands:
            self._bands.setdefault(band, []).append(number)
        return number

    def _near(self, runs: frozenset[str], bands: Iterable[Band]) -> list[int]:
        seen = {number for band in bands for number in self._bands.get(band, ())}
        return sorted(one for one in seen if jaccard(self._shingles[one], runs) >= NEAR)


def _bands(runs: Iterable[str], facts: frozenset[str]) -> Iterator[Band]:
    signature = _signature(runs)
    for start in range(0, _HASHES, _BAND):
        yield start, signature[start : start + _BAND].tobytes(), facts


def _signature(runs: Iterable[str]) -> NDArray[np.uint64]:
    """MinHash: for each of 128 hash functions the smallest value over the runs, uint64 [128]."""
    digests = b"".join(hashlib.blake2b(run.encode(), digest_size=4).digest() for run in runs)
    values = np.frombuffer(digests, dtype="<u4").astype(np.uint64) % _PRIME
    if not len(values):
        return np.zeros(_HASHES, np.uint64)
    factor, offset = _coefficients
    found: NDArray[np.uint64] = ((factor * values + offset) % _PRIME).min(axis=1)
    return found
