"""A Triton model repository that knows how its model is spoken to."""
