"""OpenAI-compatible RAG gateway of LLMOps Nexus."""
