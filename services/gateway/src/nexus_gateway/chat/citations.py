"""Citations as clients see them, from the passages in the prompt and the finished answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from nexus_knowledge.prompting.prompt import Passage
from nexus_knowledge.prompting.support import supports
from nexus_knowledge.retrieval import Hit

Json = dict[str, Any]


def cite(answer: str, passages: Sequence[Passage], index: str) -> tuple[list[Json], list[Json]]:
    """Return citations and OpenAI annotations of an answer.

    Cited are the passages that support a sentence; when none clearly does, the best-ranked one,
    because it is what the model saw first.  An empty answer has no citations.
    """
    if not answer.strip() or not passages:
        return [], []
    found = supports(answer, [f"{p.hit.section} {p.shown}" for p in passages])
    numbers = sorted({n for support in found for n in support.passages}) or [0]
    citations = [citation(passages[n].hit, index, passages[n].number) for n in numbers]
    spans = [(s.start, s.end, s.passages[0]) for s in found] or [(0, len(answer), 0)]
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": start,
                "end_index": end,
                "title": title(passages[n].hit),
                "number": passages[n].number,
                "url": source_url(index, passages[n].hit),
            },
        }
        for start, end, n in spans
    ]
    return citations, annotations


def citation(hit: Hit, index: str, number: int) -> Json:
    """Return one citation; `number` is the passage's in the prompt."""
    return {
        "number": number,
        "index": index,
        "document": hit.document,
        "document_id": hit.document_id,
        "page": hit.page or None,
        "section": hit.section or None,
        "start": hit.start,
        "end": hit.end,
        "score": round(hit.score, 6),
        "chunk_id": hit.chunk_id,
        "text": hit.text,
        "url": source_url(index, hit),
    }


def title(hit: Hit) -> str:
    """Return a passage's place for people: `manual.pdf, page 3, Maintenance`."""
    page = f"page {hit.page}" if hit.page else ""
    return ", ".join(filter(None, [hit.document, page, hit.section]))


def source_url(index: str, hit: Hit) -> str:
    """Return the address of the source document, at the passage's page where it has pages."""
    page = f"#page={hit.page}" if hit.page else ""
    return f"{document_url(index, hit.document_id)}/content{page}"


def document_url(index: str, document_id: str) -> str:
    """Return the address of a document's status."""
    return f"/v1/indexes/{quote(index, safe='')}/documents/{quote(document_id, safe='')}"
