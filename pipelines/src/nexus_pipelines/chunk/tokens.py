"""Where tokens begin and end in a text, by the embedding model's own tokenizer."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from nexus_pipelines.chunk.lexicon import Lexicon, Offsets
from nexus_pipelines.errors import TokenizerUnusable

if TYPE_CHECKING:
    import tokenizers

_BLOCK = 8000  # characters handed to the tokenizer at once: more is slower, fewer too
_BLOCKS_AT_ONCE = 64
# WordPiece makes one [UNK] of any word over 100 characters, however long: such a token is cut.
_LONGEST_TOKEN = 128
_PIECE = 64


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text: token i stands for `text[starts[i]:ends[i]]`; both int64 [n]."""

    starts: Offsets
    ends: Offsets

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.starts)

    @property
    def both(self) -> tuple[Offsets, Offsets]:
        """Starts and ends."""
        return self.starts, self.ends


class TextTokenizer:
    """Counts and places tokens.

    `special` tokens are added to every input of the model.  `additive` says that a text cut at
    white space has as many tokens as its parts together, which holds for BERT's tokenizers.
    """

    def __init__(self, tokenizer: "tokenizers.Tokenizer") -> None:
        # Models ship a tokenizer that truncates and pads (MiniLM at 128): both would lie to us.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.special: int = tokenizer.num_special_tokens_to_add(is_pair=False)
        pre_tokenizer = json.loads(tokenizer.to_str()).get("pre_tokenizer") or {}
        self.additive = pre_tokenizer.get("type") == "BertPreTokenizer"
        self._lexicon = Lexicon(lambda text: self._in_blocks(text).both)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read `tokenizer.json` of a model's directory.

        Raises:
            TokenizerUnusable: it is not there, or not in the form of the tokenizers library.
        """
        import tokenizers

        path = directory / "tokenizer.json"
        if not path.is_file():
            raise TokenizerUnusable(
                f"the embedding model has no tokenizer.json in {directory.name}; "
                "models without one cannot be used for chunking"
            )
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            raise TokenizerUnusable(
                f"tokenizer.json of the model is unreadable: {error}"
            ) from error

    def count(self, text: str) -> int:
        """Count a text's tokens, special ones left out."""
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return len(encoding)

    def tokens(self, text: str) -> Tokens:
        """Place every token of a text."""
        if self.additive:
            return Tokens(*self._lexicon.tokens(text))
        return _without_leading_space(text, self._in_blocks(text))

    def _in_blocks(self, text: str) -> Tokens:
        starts: list[Offsets] = []
        ends: list[Offsets] = []
        blocks = _blocks(text)
        while group := list(itertools.islice(blocks, _BLOCKS_AT_ONCE)):
            encoded = self._tokenizer.encode_batch(
                [text[begin:end] for begin, end in group], add_special_tokens=False
            )
            for (begin, _), encoding in zip(group, encoded, strict=True):
                places = _flat(encoding.offsets)
                starts.append(places[0::2] + begin)
                ends.append(places[1::2] + begin)
        if not starts:
            return Tokens(np.zeros(0, np.int64), np.zeros(0, np.int64))
        return self._cut_giants(text, Tokens(np.concatenate(starts), np.concatenate(ends)))

    def _cut_giants(self, text: str, tokens: Tokens) -> Tokens:
        giants = np.nonzero(tokens.ends - tokens.starts > _LONGEST_TOKEN)[0]
        if not len(giants):
            return tokens
        starts: list[Offsets] = []
        ends: list[Offsets] = []
        kept = 0
        for giant in giants.tolist():
            starts.append(tokens.starts[kept:giant])
            ends.append(tokens.ends[kept:giant])
            kept = giant + 1
            pieces = self._pieces(text, int(tokens.starts[giant]), int(tokens.ends[giant]))
            starts.append(pieces.starts)
            ends.append(pieces.ends)
        starts.append(tokens.starts[kept:])
        ends.append(tokens.ends[kept:])
        return Tokens(np.concatenate(starts), np.concatenate(ends))

    def _pieces(self, text: str, begin: int, end: int) -> Tokens:
        firsts = range(begin, end, _PIECE)
        encoded = self._tokenizer.encode_batch(
            [text[first : min(first + _PIECE, end)] for first in firsts], add_special_tokens=False
        )
        places = [_flat(one.offsets) + first for first, one in zip(firsts, encoded, strict=True)]
        joined = np.concatenate(places)
        return Tokens(joined[0::2], joined[1::2])


def _flat(offsets: Sequence[tuple[int, int]]) -> Offsets:
    return np.fromiter(itertools.chain.from_iterable(offsets), np.int64, 2 * len(offsets))


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Cut a text before white space into blocks of at most `_BLOCK` characters."""
    begin = 0
    while begin < len(text):
        end = min(begin + _BLOCK, len(text))
        if end < len(text):
            space = max(text.rfind(" ", begin, end), text.rfind("\n", begin, end))
            end = space if space > begin else end
        yield begin, end
        begin = end


def _without_leading_space(text: str, tokens: Tokens) -> Tokens:
    """Byte-level tokenizers count the space before a word as the word's: move such starts."""
    starts = tokens.starts.copy()
    for index, (start, end) in enumerate(zip(starts.tolist(), tokens.ends.tolist(), strict=True)):
        place = start
        while place < end - 1 and text[place].isspace():
            place += 1
        starts[index] = place
    return Tokens(starts, tokens.ends)
