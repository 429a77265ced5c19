"""Texts to token ids, by the model's own tokenizer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nexus_embedder.errors import UnsupportedModel

Ids = npt.NDArray[np.int64]


class TextTokenizer:
    """The tokenizer.json of a model, with its truncation and padding switched off."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UnsupportedModel(f"{path} is missing; a fast tokenizer is needed")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for a broken file
            raise UnsupportedModel(f"{path}: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.vocabulary_size: int = self._tokenizer.get_vocab_size()
        self._empty = self.encode([""])[0]

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Encode texts, special tokens included: int64 [length] for each."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=True)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def wrap(self, ids: Sequence[int]) -> Ids:
        """Put a caller's own tokens between the model's special tokens, unless they are there."""
        given = np.array(ids, dtype=np.int64)
        first, last = self._empty[0], self._empty[-1]
        if len(given) > 1 and given[0] == first and given[-1] == last:
            return given
        return np.concatenate([[first], given, [last]])

    def cut(self, ids: Ids, limit: int) -> Ids:
        """Shorten to `limit` tokens, the closing special token kept."""
        return ids if len(ids) <= limit else np.concatenate([ids[: limit - 1], ids[-1:]])
