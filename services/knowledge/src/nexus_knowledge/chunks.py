"""Chunks, and their form as LlamaIndex nodes for whoever composes with its transformations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index.core.schema import TextNode

MAX_CONTENT_BYTES = 65_535  # heading and text together: the longest VARCHAR of Milvus


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of one version of one document.

    ``start`` and ``end`` are character offsets into the document's extracted text, so that
    ``extracted[start:end] == text``; ``heading`` is what stands before the text when it is
    embedded and searched; ``page`` counts from 1, 0 when the format has no pages.
    """

    chunk_id: str
    document_id: str
    document: str  # the path below the index, as uploaded
    generation: int
    ordinal: int
    text: str
    start: int
    end: int
    page: int = 0
    section: str = ""
    heading: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The text that is embedded and searched: heading, then the passage."""
        return f"{self.heading}{self.text}"


_FIELDS = ("document_id", "document", "generation", "ordinal", "page", "section", "heading")


def to_node(chunk: Chunk) -> "TextNode":
    """Return the chunk as a LlamaIndex node; ``from_node`` is the inverse."""
    from llama_index.core.schema import TextNode

    return TextNode(
        id_=chunk.chunk_id,
        text=chunk.text,
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        metadata={**{name: getattr(chunk, name) for name in _FIELDS}, "extra": {**chunk.metadata}},
    )


def from_node(node: "TextNode") -> Chunk:
    """Return the chunk that a node carries; raises ``ValueError`` naming a missing field."""
    missing = [name for name in _FIELDS if name not in node.metadata]
    if missing or node.start_char_idx is None or node.end_char_idx is None:
        raise ValueError(
            f"node {node.node_id} is no chunk: it lacks {', '.join(missing) or 'its offsets'}"
        )
    return Chunk(
        chunk_id=node.node_id,
        text=node.text,
        start=node.start_char_idx,
        end=node.end_char_idx,
        metadata=node.metadata.get("extra", {}),
        **{name: node.metadata[name] for name in _FIELDS},
    )
