"""Cut a document into chunks: pure, one pass over its tokens.

A chunk never crosses a heading, ends at a sentence where one ends in reach, and with its heading
prefix and the model's special tokens has at most `max_tokens` tokens.  `text[start:end]` is
exactly its text.  Every visible character is in a chunk; a run of more than a thousand invisible
characters is in none.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nexus_knowledge.chunks import MAX_CONTENT_BYTES
from nexus_pipelines.chunk.headings import Range, heading_prefix, ranges
from nexus_pipelines.chunk.lexicon import Offsets
from nexus_pipelines.chunk.sentences import sentence_starts
from nexus_pipelines.chunk.tokens import TextTokenizer, Tokens
from nexus_pipelines.parse.document import Parsed

_INVISIBLE_RUN = 1024
_CJK = 0x2E80
_SMALLEST_BUDGET = 4


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How to cut; the fields of RagIndex.chunking and the embedding's passage prefix."""

    max_tokens: int = 256
    overlap_tokens: int = 32
    strategy: Literal["sentence", "fixed"] = "sentence"
    heading_prefix: bool = True
    passage_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk: its place in the text, its page (0 without pages), headings and prefix."""

    start: int
    end: int
    page: int
    section: tuple[str, ...]
    heading: str


def chunk(parsed: Parsed, tokenizer: TextTokenizer, limits: ChunkLimits) -> Iterator[Span]:
    """Cut a document into chunks, in the order of its text."""
    tokens = tokenizer.tokens(parsed.text)
    sentences = sentence_starts(parsed.text) if limits.strategy == "sentence" else []
    at = np.searchsorted(tokens.starts, sentences).tolist()
    cutter = _Cutter(parsed.text, tokens, at, tokenizer, limits)
    page_starts = [start for start, _ in parsed.pages]
    for part in ranges(parsed):
        for start, end, heading in cutter.cut(part):
            page = bisect_right(page_starts, start)
            yield Span(start, end, page, part.path, heading)


def _places(offsets: Offsets) -> "array[int]":
    places = array("q")
    places.frombytes(offsets.tobytes())
    return places


class _Cutter:
    """Cuts the ranges of one text; places are token numbers unless called characters."""

    def __init__(
        self, text: str, tokens: Tokens, sentences: list[int], tokenizer: TextTokenizer,
        limits: ChunkLimits,
    ) -> None:  # fmt: skip
        self._text = text
        # As fast to look up as lists, and a fifth of their memory: a document has millions.
        self._starts, self._ends = _places(tokens.starts), _places(tokens.ends)
        self._sentences = sentences
        self._tokenizer = tokenizer
        self._limits = limits
        # Tokenizers that are not additive may need one more at either end of a cut.
        reserve = tokenizer.special + (0 if tokenizer.additive else 2)
        reserve += tokenizer.count(limits.passage_prefix) if limits.passage_prefix else 0
        self._room = max(_SMALLEST_BUDGET, limits.max_tokens - reserve)
        self._headings: dict[tuple[str, ...], tuple[str, int]] = {}

    def cut(self, part: Range) -> Iterator[tuple[int, int, str]]:
        """Give (first character, character after the last, heading) of a range's chunks."""
        first, last = bisect_left(self._starts, part.start), bisect_left(self._starts, part.end)
        place, done = first, first
        while place < last:
            heading, budget = self._heading(part, place == first)
            end = self._end(place, done, last, budget)
            end = self._fitting(place, done, end, heading, part)
            start, stop = self._characters(place, end, part, first=place == first)
            # Some tokenizers have tokens for white space alone.
            if start < stop:
                yield start, stop, heading
            place, done = self._next(place, end, last, budget), end

    def _heading(self, part: Range, is_first: bool) -> tuple[str, int]:
        if not self._limits.heading_prefix or not part.path:
            return "", self._room
        path = part.outer if is_first else part.path
        known = self._headings.get(path)
        if known is None:
            heading = heading_prefix(path, self._tokenizer, self._room // 4)
            known = heading, self._room - (self._tokenizer.count(heading) if heading else 0)
            self._headings[path] = known
        return known

    def _end(self, place: int, done: int, last: int, budget: int) -> int:
        """Choose where a chunk ends: after `done`, at a sentence, else a word, else anywhere."""
        limit = place + budget
        if limit >= last:
            return last
        overlap = self._overlap(budget)
        if last - limit < budget // 4:
            # What is left would be a crumb: share the rest between this chunk and the next.
            limit = max(done + 1, place + (last - place + overlap + 1) // 2)
        lowest = max(done + 1, place + budget // 3)
        found = bisect_right(self._sentences, limit) - 1
        if found >= 0 and self._sentences[found] >= lowest:
            return self._sentences[found]
        return next((at for at in range(limit, lowest - 1, -1) if self._is_word(at)), limit)

    def _next(self, place: int, end: int, last: int, budget: int) -> int:
        """Choose where the next chunk begins: at most the overlap before this one's end."""
        lowest = max(place + 1, end - self._overlap(budget))
        if end >= last or lowest >= end:
            return end
        found = bisect_left(self._sentences, lowest)
        if found < len(self._sentences) and self._sentences[found] < end:
            return self._sentences[found]
        return next((at for at in range(lowest, end) if self._is_word(at)), end)

    def _overlap(self, budget: int) -> int:
        return min(self._limits.overlap_tokens, budget // 2)

    def _is_word(self, at: int) -> bool:
        """Tell whether a cut before a token parts no word."""
        return (
            at == 0
            or at >= len(self._starts)
            or self._starts[at] > self._ends[at - 1]
            or ord(self._text[self._starts[at]]) >= _CJK
        )

    def _fitting(self, place: int, done: int, end: int, heading: str, part: Range) -> int:
        """Move an end back until the chunk fits in bytes and, counted anew, in tokens."""
        room = MAX_CONTENT_BYTES - len(heading.encode())
        while end > done + 1:
            start, stop = self._characters(place, end, part, first=False)
            if (stop - start) * 4 > room and len(self._text[start:stop].encode()) > room:
                end = max(done + 1, min(end - 1, bisect_left(self._starts, start + room // 4)))
                continue
            if self._tokenizer.additive and self._clean_cut(place) and self._clean_cut(end):
                break
            excess = self._tokenizer.count(heading + self._text[start:stop]) - self._room
            if excess <= 0:
                break
            end = max(done + 1, end - excess)
        return end

    def _clean_cut(self, at: int) -> bool:
        """Tell whether tokens are the same on both sides of a cut as they were without it."""
        if at == 0 or at >= len(self._starts) or self._starts[at] > self._ends[at - 1]:
            return True
        before, after = self._text[self._starts[at] - 1], self._text[self._starts[at]]
        return not (before.isalnum() and after.isalnum()) or ord(after) >= _CJK

    def _characters(self, place: int, end: int, part: Range, *, first: bool) -> tuple[int, int]:
        text, starts, ends = self._text, self._starts, self._ends
        start = starts[place]
        if first:
            # What has no token but can be seen belongs to the chunk, a token before it does not.
            start = max(part.start, ends[place - 1] if place else 0, start - _INVISIBLE_RUN)
        stop = starts[end] if end < len(starts) and starts[end] < part.end else part.end
        stop = max(stop, ends[end - 1])
        stop = min(stop, ends[end - 1] + _INVISIBLE_RUN)
        while start < stop and text[start].isspace():
            start += 1
        while stop > start and text[stop - 1].isspace():
            stop -= 1
        return start, stop
