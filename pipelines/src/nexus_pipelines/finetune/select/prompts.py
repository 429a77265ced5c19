"""The messages of a question asked on passages: those that the gateway would send.  Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from nexus_api.release import ReleasableUnit
from nexus_knowledge.prompting.lengths import estimate
from nexus_knowledge.prompting.messages import Question
from nexus_knowledge.prompting.prompt import build
from nexus_knowledge.retrieval import Hit

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
    asked = {"role": "user", "content": question}
    if not passages:
        return [*([("system", asking.system)] if asking.system else []), ("user", question)]
    whole = Question(text=question, instructions="", before=[], message=asked, after=[])
    hits = [_hit(number, passage) for number, passage in enumerate(passages)]
    made = build(whole, hits, system=asking.system or None, budget=asking.tokens, count=estimate)
    return [(one["role"], one["content"]) for one in made.messages]


def _hit(number: int, passage: Passage) -> Hit:
    """Stand for a hit; its number is its own document, so that no two are taken to overlap."""
    return Hit(
        document=passage.document,
        document_id=f"{number}",
        score=1.0,
        text=passage.text,
        page=0,
        section="",
        start=0,
        end=len(passage.text),
        chunk_id=f"{number}",
    )
