"""Documents, chunks, ledger, object stores, vector index and retrieval of LLMOps Nexus.

Pipelines write with this library and the gateway reads with it.  Start at:
``objects.open_store``, ``ledger.Ledger``, ``vectors.open_index``, ``embedding.EmbedderClient``
and ``retrieval.Retriever``.
"""
