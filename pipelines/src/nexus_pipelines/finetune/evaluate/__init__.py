"""Candidate and production answer the golden set, each by the runtime that serves it."""
