"""First version: signature."""

from collections.abc import Mapping, Sequence
from typing import Any

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.ledger import Ledger
from nexus_knowledge.retrieval import Hit
from nexus_knowledge.vectors import VectorIndex


class Retriever:
    """Searches indexes.  Safe to share by threads."""

    def __init__(self, ledger: Ledger, vectors: VectorIndex, embedder: EmbedderClient) -> None: ...

    def search(
        self,
        tenant: str,
        index: str,
        spec: RagIndexSpec,
        queries: Sequence[str],
        *,
        top_k: int | None = None,
        mode: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[list[Hit]]:
        """Return the hits of each query.  Raises IndexNotReady, ModeNotOffered, InvalidFilter."""
        raise NotImplementedError
