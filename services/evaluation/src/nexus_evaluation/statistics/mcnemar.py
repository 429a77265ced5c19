"""Binary metrics: the exact one-sided McNemar test and the bound that belongs to it.

Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947;
its exact form conditions on the discordant pairs: wins ~ Binomial(wins + losses, 1/2) where
neither model is better.
"""

from scipy.special import betainc, betaincinv


def mcnemar_p(wins: int, losses: int) -> float:
    """Give the chance of so many wins or more among the discordant pairs at no difference."""
    # P(X >= w) for Binomial(n, 1/2) is the incomplete beta function at 1/2.
    return float(betainc(wins, losses + 1, 0.5)) if wins > 0 else 1.0


def gain_lower(wins: int, losses: int, items: int, alpha: float) -> float:
    """Give the lower bound of the gain, one-sided at ``alpha``, given the discordant pairs.

    Clopper and Pearson's bound on the share of wins, times the share of discordant pairs; it
    exceeds 0 exactly where ``mcnemar_p`` is below ``alpha``.  Above 0 it is a little too sure of
    itself, since it takes the number of discordant pairs as given: the gate uses it together with
    the bootstrap's bound, which does not.
    """
    share = float(betaincinv(wins, losses + 1, alpha)) if wins > 0 else 0.0
    return (wins + losses) * (2 * share - 1) / items


def gain_upper(wins: int, losses: int, items: int, alpha: float) -> float:
    """Give the upper bound of the gain, one-sided at ``alpha``."""
    return -gain_lower(losses, wins, items, alpha)
