"""Documents, chunks, ledger, object stores, vector index and retrieval of LLMOps Nexus."""
