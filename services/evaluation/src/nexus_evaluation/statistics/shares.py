"""Shares of a count, with exact intervals."""

from scipy.special import betaincinv


def share_interval(count: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound a share by Clopper and Pearson's interval; (0, 1) of nothing."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high
