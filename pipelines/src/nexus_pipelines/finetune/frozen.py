"""Frozen passages, in a golden item or an example, as what a search would have found.  Pure."""

from collections.abc import Iterable

from nexus_knowledge.prompting.messages import Question
from nexus_knowledge.retrieval import Hit


def frozen_hits(passages: Iterable[tuple[str, str]]) -> list[Hit]:
    """Stand for the hits of a search that found these passages: (document, text), best first.

    Each has its number for its document's id, so that no two are taken to overlap.
    """
    return [
        Hit(
            document=document,
            document_id=f"{number}",
            score=1.0,
            text=text,
            page=0,
            section="",
            start=0,
            end=len(text),
            chunk_id=f"{number}",
        )
        for number, (document, text) in enumerate(passages)
    ]


def bare_question(text: str) -> Question:
    """Stand for a question that nothing was said before."""
    asked = {"role": "user", "content": text}
    return Question(text=text, instructions="", before=[], message=asked, after=[])
