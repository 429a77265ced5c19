"""Tokens of a text by way of its words, each tokenised once: a language repeats itself.

Right only for tokenizers that part a text at white space before anything else (BERT's do): then a
text's tokens are those of its words, moved to where the words stand.
"""

import itertools
import threading
from array import array
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]
Placed = tuple[Offsets, Offsets]

_MOST_CHARACTERS = 4_000_000  # of remembered words; some 50 MB with their tokens
_BEYOND = 0x3001  # all white space lies below
_IS_SPACE = np.array([chr(point).isspace() for point in range(_BEYOND)] + [False])


class Lexicon:
    """Remembers where the tokens of words lie; may be asked from several threads."""

    def __init__(self, place: Callable[[str], Placed]) -> None:
        """Take the function that tokenises a text: starts and ends, int64 [n]."""
        self._place = place
        self._lock = threading.Lock()
        self._forget()

    def tokens(self, text: str) -> Placed:
        """Place every token of a text: starts and ends, int64 [n]."""
        words = text.split()
        places = _word_starts(text)
        with self._lock:
            if self._characters > _MOST_CHARACTERS:
                self._forget()
            self._learn(words)
            known = self._known
            numbers = np.fromiter((known[word] for word in words), np.int64, len(words))
            return self._gather(places, numbers)

    def _forget(self) -> None:
        self._known: dict[str, int] = {}
        self._firsts, self._counts = array("q"), array("q")
        self._starts, self._ends = array("q"), array("q")
        self._characters = 0

    def _learn(self, words: Sequence[str]) -> None:
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        if not new:
            return
        # As one text: a call for each word would take far longer than the words themselves.
        starts, ends = self._place(" ".join(new))
        lengths = np.fromiter(map(len, new), np.int64, len(new))
        begins = np.cumsum(lengths + 1) - lengths - 1
        firsts = np.searchsorted(starts, begins)
        counts = np.diff(firsts, append=len(starts))
        begin_of_token = np.repeat(begins, counts)
        self._known.update(zip(new, itertools.count(len(self._firsts)), strict=False))
        self._firsts.frombytes((firsts + len(self._starts)).tobytes())
        self._counts.frombytes(counts.tobytes())
        self._starts.frombytes((starts - begin_of_token).tobytes())
        self._ends.frombytes((ends - begin_of_token).tobytes())
        self._characters += int(lengths.sum())

    def _gather(self, places: Offsets, numbers: Offsets) -> Placed:
        """Lay the words' tokens out one after the other, each moved by its word's place."""
        counts = np.frombuffer(self._counts, np.int64)[numbers] if len(numbers) else numbers
        total = int(counts.sum())
        if not total:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        firsts = np.frombuffer(self._firsts, np.int64)[numbers]
        before = np.cumsum(counts) - counts
        rows = np.arange(total) + np.repeat(firsts - before, counts)
        moved = np.repeat(places, counts)
        return (
            np.frombuffer(self._starts, np.int64)[rows] + moved,
            np.frombuffer(self._ends, np.int64)[rows] + moved,
        )


def _word_starts(text: str) -> Offsets:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    space = _IS_SPACE[np.minimum(points, _BEYOND)]
    begins = ~space
    begins[1:] &= space[:-1]
    return np.nonzero(begins)[0].astype(np.int64, copy=False)
