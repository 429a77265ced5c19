"""Custom resource types, URIs and validation of LLMOps Nexus."""
