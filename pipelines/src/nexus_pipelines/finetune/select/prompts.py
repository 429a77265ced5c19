"""The user's message of a question that is asked on passages.  Pure."""

from collections.abc import Sequence
from typing import Protocol


class HasText(Protocol):
    """A passage."""

    @property
    def text(self) -> str:
        """What it says."""
        ...


def user_text(question: str, passages: Sequence[HasText]) -> str:
    """Put numbered passages, the best one last, before the question, as the gateway does.

    A question without passages stands alone, as in a chat without knowledge.
    """
    if not passages:
        return question
    numbered = [f"[{number}] {one.text}" for number, one in enumerate(passages, start=1)]
    return "\n\n".join([*reversed(numbered), f"Question: {question}"])
