"""The bands of drift, by the lower bound of its distance.  Pure."""

from dataclasses import dataclass
from enum import IntEnum


class Band(IntEnum):
    """How much drift there is for sure, from what nobody need know to what a person must."""

    QUIET = 0
    WARN = 1
    RETRAIN = 2
    STOP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Where the bands begin, as distances from 0 to 1, and what is enough to look at."""

    warn: float = 0.02
    retrain: float = 0.05
    stop: float = 0.10
    alpha: float = 0.05
    """The chance that any bound of one look is too high."""
    least: int = 200
    """Answers that each sample must have."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: it does; says what.
        """
        if not 0 < self.warn < self.retrain < self.stop < 1:
            raise ValueError(
                f"bands must rise within 0 and 1, not {self.warn}, {self.retrain}, {self.stop}"
            )
        if not 0 < self.alpha < 1 or self.least < 1:
            raise ValueError("alpha must lie between 0 and 1, and least be a count of answers")

    def of(self, lower: float) -> Band:
        """Name the band of a lower bound; the retrain band ends with ``stop``, which is in it."""
        if lower > self.stop:
            return Band.STOP
        if lower >= self.retrain:
            return Band.RETRAIN
        return Band.WARN if lower >= self.warn else Band.QUIET
