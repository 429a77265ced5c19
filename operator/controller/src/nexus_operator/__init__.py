"""Pure plans, manifest builders and reconcile loop of LLMOps Nexus."""
