"""The chunker as a LlamaIndex transformation, for pipelines that people build with LlamaIndex.

Importing this module imports LlamaIndex, which takes seconds; the steps of a sync do not.
"""

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    TextNode,
    TransformComponent,
)
from pydantic import PrivateAttr

from nexus_pipelines.chunk.core import ChunkLimits, chunk
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.parse.document import Parsed


class Chunker(TransformComponent):
    """Cuts documents into nodes whose text is exactly `document.text[start:end]`."""

    _tokenizer: TextTokenizer = PrivateAttr()
    _limits: ChunkLimits = PrivateAttr()

    def __init__(self, tokenizer: TextTokenizer, limits: ChunkLimits) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._limits = limits

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> list[BaseNode]:
        """Cut each node; what it says of itself goes on to its parts."""
        return [part for node in nodes for part in self.nodes(node, self._parsed(node))]

    def nodes(self, source: BaseNode, parsed: Parsed) -> list[BaseNode]:
        """Cut a document that was parsed: pages and headings become metadata of its nodes."""
        parts: list[BaseNode] = []
        for ordinal, span in enumerate(chunk(parsed, self._tokenizer, self._limits)):
            place = {
                "ordinal": ordinal,
                "page": span.page,
                "section": " > ".join(span.section),
                "heading": span.heading,
            }
            parts.append(
                TextNode(
                    text=parsed.text[span.start : span.end],
                    start_char_idx=span.start,
                    end_char_idx=span.end,
                    metadata={**source.metadata, **place},
                    relationships={NodeRelationship.SOURCE: source.as_related_node_info()},
                )
            )
        return parts

    @staticmethod
    def _parsed(node: BaseNode) -> Parsed:
        return Parsed(format="text", text=node.get_content(MetadataMode.NONE))
