"""Conversations as tokens, and which of them are learnt: the answer of the last turn.

The prompt is written by the model's own chat template, as the runtime will write it, and is
tokenized alone, as the runtime tokenizes it; the answer follows up to the token that ends the
turn.  A template that writes a conversation's beginning in another way once an answer follows
cannot be learnt from, and is refused.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nexus_pipelines.finetune.train.errors import BaseUnusable


class ChatTokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    eos_token_id: int | None
    unk_token_id: int | None
    added_tokens_decoder: dict[int, Any]

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Write a conversation as the model reads it."""
        ...

    def __call__(self, text: str, **options: Any) -> Any:
        """Tokenize a text."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation: its tokens, the answer's from `answer` on."""

    id: str
    tokens: tuple[int, ...]
    answer: int

    @property
    def learnt(self) -> int:
        """How many tokens count in the loss."""
        return len(self.tokens) - self.answer


@dataclass(slots=True)
class Encoded:
    """Examples that fit, in their order, and how many others were left out, by reason."""

    examples: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(example.tokens) for example in self.examples)


def encode_all(
    rows: Iterable[Mapping[str, Any]], tokenizer: ChatTokenizer, *, longest: int
) -> Encoded:
    """Encode the rows of a selection; cut none: half an answer would teach to stop there.

    Args:
        rows: training examples, `{"id", "messages": [...]}` with an assistant's answer last.
        tokenizer: the base model's tokenizer, with its chat template.
        longest: tokens that an example may have.

    Raises:
        BaseUnusable: the model has no chat template, or one that cannot be learnt from.
    """
    control = control_tokens(tokenizer)
    found = Encoded()
    for row in rows:
        messages = row["messages"]
        if any(token in one["content"] for one in messages for token in control.values()):
            found.dropped["controlTokens"] += 1
            continue
        example = encode(str(row["id"]), messages, tokenizer, frozenset(control))
        if len(example.tokens) > longest:
            found.dropped["tooLong"] += 1
        else:
            found.examples.append(example)
    return found


def control_tokens(tokenizer: ChatTokenizer) -> dict[int, str]:
    """Return the tokens that stand for no text: where turns begin and end, by number."""
    added = tokenizer.added_tokens_decoder
    found = {number: str(token) for number, token in added.items() if token.special}
    return {number: text for number, text in found.items() if text.strip()}


def encode(
    identity: str,
    messages: list[dict[str, str]],
    tokenizer: ChatTokenizer,
    control: frozenset[int],
) -> Example:
    """Encode one conversation; its last message is what is learnt.

    Args:
        identity: the example's id.
        messages: the turns, the answer last.
        tokenizer: the base model's tokenizer.
        control: numbers of its control tokens.

    Raises:
        BaseUnusable: the model has no chat template, or one that cannot be learnt from.
    """
    try:
        prompt = tokenizer.apply_chat_template(
            messages[:-1], tokenize=False, add_generation_prompt=True
        )
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as error:
        raise BaseUnusable(
            f"the base model's chat template cannot write example {identity!r}: {error}; "
            "use an instruction-tuned base model"
        ) from error
    if not whole.startswith(prompt):
        raise BaseUnusable(
            "the base model's chat template writes the prompt in another way once an answer "
            "follows, so what it learns is not what it will be asked; use another base model"
        )
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answered = tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
    ended = _ended(answered, control - {tokenizer.unk_token_id}, tokenizer.eos_token_id)
    return Example(identity, (*asked, *ended), len(asked))


def _ended(answer: list[int], ends: frozenset[int], end: int | None) -> list[int]:
    """End an answer with the token that ends a turn, and with nothing after it."""
    for at, token in enumerate(answer):
        if token in ends or token == end:
            return answer[: at + 1]
    return answer if end is None else [*answer, end]
