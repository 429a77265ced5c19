"""Decide by statistics whether the candidate may replace production."""
