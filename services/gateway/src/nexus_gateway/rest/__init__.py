"""Everything beside the hot path, served by FastAPI."""
