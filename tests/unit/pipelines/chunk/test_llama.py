"""The chunker within a LlamaIndex pipeline."""

from __future__ import annotations

import warnings

from nexus_pipelines.chunk.core import ChunkLimits
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.parse.document import Parsed, Section

SENTENCE = "The operator of the pump must check the seal and the oil every month. "


def test_a_llama_index_pipeline_cuts_with_our_chunker(bert: TextTokenizer) -> None:
    with warnings.catch_warnings():
        # LlamaIndex's own modules use deprecated parts of their dependencies.
        warnings.simplefilter("ignore")
        from llama_index.core.ingestion import IngestionPipeline
        from llama_index.core.schema import Document, NodeRelationship, TextNode

        from nexus_pipelines.chunk.llama import Chunker

        document = Document(text=SENTENCE * 20, metadata={"file": "a.txt"})
        chunker = Chunker(bert, ChunkLimits(max_tokens=64, overlap_tokens=0))
        nodes = IngestionPipeline(transformations=[chunker], disable_cache=True).run(
            documents=[document]
        )
    assert len(nodes) > 3
    for number, node in enumerate(nodes):
        assert isinstance(node, TextNode)
        assert node.text == document.text[node.start_char_idx : node.end_char_idx]
        assert node.metadata["file"] == "a.txt"
        assert node.metadata["ordinal"] == number
        source = node.relationships[NodeRelationship.SOURCE]
        assert getattr(source, "node_id", None) == document.node_id
    parsed = Parsed("pdf", "Oil\nChange it.", pages=((0, 14),), sections=(Section(0, ("Oil",)),))
    (node,) = chunker.nodes(document, parsed)
    assert (node.metadata["page"], node.metadata["section"]) == (1, "Oil")
