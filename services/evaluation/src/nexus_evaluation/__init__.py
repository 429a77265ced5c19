"""Golden sets, metrics, and the gate that decides between two models."""
