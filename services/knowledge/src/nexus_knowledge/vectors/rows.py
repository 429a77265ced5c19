"""How a chunk lies in a Milvus collection."""

from collections.abc import Mapping
from typing import Any

from nexus_knowledge.chunks import MAX_CONTENT_BYTES, Chunk
from nexus_knowledge.errors import VectorError
from nexus_knowledge.vectors import Vectors

_SECTION_BYTES = 4096
_PATH_BYTES = 1024  # as long as a key of the bucket
_ANALYZER = {"tokenizer": "standard", "filter": ["lowercase"]}
# All but the vectors.  ``content`` is heading and text in one, since BM25 reads one field; ``head``
# is the heading's length in characters.
FIELDS = [
    "id", "document_id", "document", "generation", "ordinal", "content", "head", "page", "section",
    "start", "end", "metadata",
]  # fmt: skip


def schema(dimension: int) -> Any:
    """Return the schema of a collection with dense vectors of ``dimension``."""
    from pymilvus import DataType, Function, FunctionType, MilvusClient

    fields = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    fields.add_field("id", DataType.VARCHAR, max_length=32, is_primary=True)
    fields.add_field("document_id", DataType.VARCHAR, max_length=32)
    fields.add_field("document", DataType.VARCHAR, max_length=_PATH_BYTES)
    fields.add_field(
        "content",
        DataType.VARCHAR,
        max_length=MAX_CONTENT_BYTES,
        enable_analyzer=True,
        analyzer_params=_ANALYZER,
    )
    fields.add_field("section", DataType.VARCHAR, max_length=_SECTION_BYTES)
    for name in ("generation", "ordinal", "head", "page", "start", "end"):
        fields.add_field(name, DataType.INT64)
    fields.add_field("metadata", DataType.JSON)
    fields.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    fields.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    fields.add_function(
        Function(
            name="bm25",
            function_type=FunctionType.BM25,
            input_field_names=["content"],
            output_field_names=["sparse"],
        )
    )
    return fields


def index_params(dense_index: str) -> Any:
    """Return the indexes of a collection."""
    from pymilvus import MilvusClient

    params = MilvusClient.prepare_index_params()
    params.add_index("dense", index_type=dense_index, metric_type="COSINE")
    params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return params


def to_row(chunk: Chunk, vector: Vectors) -> dict[str, Any]:
    """Return a chunk and its vector as a row.  Raises ``VectorError`` when it does not fit."""
    size = len(chunk.content.encode())
    if size > MAX_CONTENT_BYTES:
        raise VectorError(
            f"chunk {chunk.ordinal} of {chunk.document!r} has {size} bytes; "
            f"at most {MAX_CONTENT_BYTES} fit"
        )
    return {
        "id": chunk.chunk_id,
        "document_id": chunk.document_id,
        "document": chunk.document,
        "generation": chunk.generation,
        "ordinal": chunk.ordinal,
        "content": chunk.content,
        "head": len(chunk.heading),
        "page": chunk.page,
        "section": _cut(chunk.section, _SECTION_BYTES),
        "start": chunk.start,
        "end": chunk.end,
        "metadata": dict(chunk.metadata),
        "dense": vector.tolist(),
    }


def from_row(name: str, row: Mapping[str, Any]) -> Chunk:
    """Return the chunk that a row holds; ``name`` is its id."""
    content, head = row["content"], row["head"]
    return Chunk(
        chunk_id=name,
        document_id=row["document_id"],
        document=row["document"],
        generation=row["generation"],
        ordinal=row["ordinal"],
        text=content[head:],
        start=row["start"],
        end=row["end"],
        page=row["page"],
        section=row["section"],
        heading=content[:head],
        metadata=row["metadata"],
    )


def _cut(text: str, size: int) -> str:
    """Shorten a text to ``size`` bytes, at a character."""
    return text.encode()[:size].decode(errors="ignore")
