"""The messages of a question asked on passages: those that the gateway would send.  Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from nexus_api.release import ReleasableUnit
from nexus_knowledge.prompting.lengths import estimate
from nexus_knowledge.prompting.prompt import build
from nexus_pipelines.finetune.frozen import bare_question, frozen_hits

_QUESTION = "Question: "
_NUMBERED = re.compile(r"\[(?P<number>[1-9][0-9]{0,2})\] (?P<text>.*)", re.DOTALL)
_DEFAULTS = ReleasableUnit.model_fields


class Passage(NamedTuple):
    """A passage that a question is asked with."""

    document: str
    text: str


class Asking(NamedTuple):
    """How the served model is asked: what decides the messages beside question and passages."""

    system: str = ""  # system prompt; empty for the platform's own
    tokens: int = _DEFAULTS["prompt_tokens"].default  # most tokens of a prompt

    @classmethod
    def of(cls, production: ReleasableUnit | None) -> "Asking":
        """Ask as what serves now is asked, since its successor differs in the adapter alone."""
        return cls(production.prompt, production.prompt_tokens) if production else cls()


def prompt(question: str, passages: Sequence[Passage], asking: Asking) -> list[tuple[str, str]]:
    """Return (role, content) of what a model is asked, as an evaluation asks it.

    Raises:
        nexus_knowledge.errors.QuestionTooLong: the question leaves no room for a passage.
    """
    if not passages:
        return [*([("system", asking.system)] if asking.system else []), ("user", question)]
    made = build(
        bare_question(question),
        frozen_hits(passages),
        system=asking.system or None,
        budget=asking.tokens,
        count=estimate,
    )
    return [(one["role"], one["content"]) for one in made.messages]


def taken_apart(content: str, document: str) -> tuple[str, tuple[Passage, ...]]:
    """Find question and passages in a message that is written as `prompt` writes it.

    So a conversation from the gateway's own log is told apart by what was asked, not by what was
    found.  Any other message is a question as a whole.  `document` is what the passages are of.
    """
    *parts, last = content.split("\n\n")
    if not last.startswith(_QUESTION) or not parts:
        return content, ()
    if not _NUMBERED.match(parts[-1]):
        parts.pop()  # the sentences that say most about the question
    found = [_NUMBERED.match(part) for part in parts]
    numbers = [int(one["number"]) if one else 0 for one in found]
    if not numbers or numbers != list(range(len(numbers), 0, -1)):
        return content, ()
    texts = [one["text"].strip() for one in reversed(found) if one]
    question = last.removeprefix(_QUESTION).strip()
    if not question or not all(texts):
        return content, ()
    return question, tuple(Passage(document, text) for text in texts)
