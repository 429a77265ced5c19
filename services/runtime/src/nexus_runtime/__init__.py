"""llama.cpp runtime of LLMOps Nexus: fetch, requantise, serve."""
