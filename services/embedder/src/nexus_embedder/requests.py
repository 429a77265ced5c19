"""The body of POST /v1/embeddings: read, checked, and turned into token ids."""

from dataclasses import dataclass
from typing import Any, Literal

from nexus_embedder.errors import InvalidInput
from nexus_embedder.tokens import Ids, TextTokenizer

MAX_INPUTS = 2048  # OpenAI's own limit

Encoding = Literal["float", "base64"]


@dataclass(frozen=True)
class EmbeddingRequest:
    """A checked request; `texts` or `tokens` holds the inputs, the other is empty."""

    model: str
    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    encoding: Encoding
    dimensions: int | None
    truncate: bool


def read_request(body: object) -> EmbeddingRequest:
    """Check the JSON body of an embedding request.

    Raises:
        InvalidInput: names the field and what is wrong with it.
    """
    if not isinstance(body, dict):
        raise InvalidInput("the body must be a JSON object", param="body")
    texts, tokens = _inputs(body.get("input"))
    model = body.get("model", "")
    if not isinstance(model, str):
        raise InvalidInput("model must be a string", param="model")
    encoding: Encoding | Any = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidInput("encoding_format must be 'float' or 'base64'", param="encoding_format")
    dimensions = body.get("dimensions")
    if dimensions is not None and not _is_int(dimensions):
        raise InvalidInput("dimensions must be an integer", param="dimensions")
    truncate = body.get("truncate", False)
    if not isinstance(truncate, bool):
        raise InvalidInput("truncate must be true or false", param="truncate")
    return EmbeddingRequest(model, texts, tokens, encoding, dimensions, truncate)


def encode_inputs(
    request: EmbeddingRequest, tokenizer: TextTokenizer, *, max_tokens: int
) -> list[Ids]:
    """Turn the inputs into token ids: int64 [length <= max_tokens] for each.

    Raises:
        InvalidInput: an input is longer than the model reads and `truncate` is not set, or holds
            a token that the model does not have.
    """
    if request.texts:
        sequences = tokenizer.encode(request.texts)
    else:
        for index, ids in enumerate(request.tokens):
            if min(ids) < 0 or max(ids) >= tokenizer.vocabulary_size:
                raise InvalidInput(
                    f"input[{index}] holds a token outside of 0..{tokenizer.vocabulary_size - 1}"
                )
        sequences = [tokenizer.wrap(ids) for ids in request.tokens]
    if request.truncate:
        return [tokenizer.cut(ids, max_tokens) for ids in sequences]
    for index, sequence in enumerate(sequences):
        if len(sequence) > max_tokens:
            raise InvalidInput(
                f"input[{index}] has {len(sequence)} tokens, special tokens included; this model "
                f'reads at most {max_tokens}. Shorten it, or send "truncate": true',
                code="context_length_exceeded",
            )
    return sequences


def _inputs(value: Any) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise InvalidInput("input must be a string, or a list of strings, tokens or token lists")
    if all(_is_int(item) for item in value):
        value = [value]
    if len(value) > MAX_INPUTS:
        raise InvalidInput(f"input has {len(value)} entries; at most {MAX_INPUTS} go in one call")
    if isinstance(value[0], str):
        return tuple(_text(index, item) for index, item in enumerate(value)), ()
    return (), tuple(_tokens(index, item) for index, item in enumerate(value))


def _text(index: int, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"input[{index}] must be a string like the others")
    if not value:
        raise InvalidInput(f"input[{index}] is an empty string, which has no meaning to embed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"input[{index}] is not valid Unicode: {error.reason}") from error
    return value


def _tokens(index: int, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(_is_int(item) for item in value):
        raise InvalidInput(f"input[{index}] must be a string or a list of token numbers")
    return tuple(value)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
