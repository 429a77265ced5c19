"""Pipeline steps of LLMOps Nexus: one command a step."""
