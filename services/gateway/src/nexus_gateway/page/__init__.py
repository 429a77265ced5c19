"""The chat page: one self-contained document."""
