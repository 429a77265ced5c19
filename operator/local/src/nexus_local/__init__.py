"""LLMOps Nexus on one machine: object store, process node, workflow engine, command line."""
