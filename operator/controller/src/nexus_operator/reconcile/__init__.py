"""Observing, carrying out plans and the controller that does so whenever something changes."""
