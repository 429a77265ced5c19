"""What a golden set can see: the smallest gain that it would find four times in five."""

import math
from collections.abc import Sequence
from typing import Final

from scipy.special import ndtri

from nexus_evaluation.statistics.clusters import Clusters, clustered

POWER: Final = 0.8
_STEPS: Final = 60  # halvings: more than a double can tell apart


def items_needed(effect: float, discordant: float, alpha: float, power: float = POWER) -> float:
    """Give the pairs that a one-sided McNemar test needs for a gain of ``effect``.

    ``discordant`` is the share of pairs that differ.  Source: Miettinen, The matched pairs design
    in the case of all-or-none responses, 1968, in the form of Connor, 1987: at alpha .05 and power
    .8, +5 points at 15 % need 369 pairs, +10 points at 20 % 122.
    """
    spread = math.sqrt(max(discordant - effect**2, 0.0))
    return (
        (-float(ndtri(alpha)) * math.sqrt(discordant) + float(ndtri(power)) * spread) / effect
    ) ** 2


def smallest_binary(
    wins: int,
    losses: int,
    items: int,
    alpha: float,
    *,
    design: float = 1.0,
    power: float = POWER,
) -> float:
    """Give the smallest gain that ``items`` pairs find with ``power``; 1.0 where none is.

    The discordant share is the one seen, or twice the losses plus the gain if that is less: as if
    the gain were just the one asked about, so that winning a lot makes no set underpowered.
    ``design`` is the factor by which clusters raise the variance.
    """

    def enough(gain: float) -> bool:
        discordant = min((wins + losses) / items, 2 * losses / items + gain)
        return items_needed(gain, max(discordant, gain), alpha, power) <= items / design

    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def smallest_continuous(
    differences: Sequence[float],
    names: Sequence[str],
    alpha: float,
    *,
    effect: float,
    power: float = POWER,
) -> float:
    """Give the smallest mean gain that such differences let a test find with ``power``.

    Wins are scaled down to a mean gain of ``effect`` first, for the reason given above.
    """
    won = math.fsum(value for value in differences if value > 0)
    lost = -math.fsum(value for value in differences if value < 0)
    wanted = effect * len(differences) + lost
    scale = min(wanted / won, 1.0) if won > 0 else 1.0
    scaled = [value * scale if value > 0 else value for value in differences]
    error = clustered(scaled, names).standard_error
    return min((float(ndtri(power)) - float(ndtri(alpha))) * error, 1.0)


def design_effect(clusters: Clusters, square: float) -> float:
    """Give the factor, at least 1, by which clusters raise the variance of the mean.

    ``square`` is the sum of the squared differences.
    """
    independent = (square / clusters.items - clusters.mean**2) / clusters.items
    return max(clusters.standard_error**2 / independent, 1.0) if independent > 0 else 1.0
