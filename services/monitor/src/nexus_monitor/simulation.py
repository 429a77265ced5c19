"""How often drift is seen, measured: `python -m nexus_monitor.simulation`.

Each simulated look is the real one (`drift.compare` with its bound, all features at their shared
alpha, `triage.decide`), on answers drawn from known shares of ten bins.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from nexus_evaluation.statistics.shares import share_interval
from nexus_monitor.bands import Band, Bands
from nexus_monitor.drift import compare
from nexus_monitor.triage import decide

BINS = 10
FEATURES = 8
_SKEWED = np.array([0.35, 0.2, 0.13, 0.1, 0.08, 0.05, 0.04, 0.03, 0.015, 0.005])


@dataclass(frozen=True, slots=True)
class World:
    """Shares before and after: one feature of eight drifts, by total variation ``drift``."""

    name: str  # equal or skewed bins
    answers: int  # in each sample
    drift: float

    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the true shares of the bins before and after."""
        before = np.full(BINS, 1 / BINS) if self.name == "equal" else _SKEWED / _SKEWED.sum()
        # A share of the commonest bins' answers moves to the rarest ones.
        half = BINS // 2
        given = before[:half].sum()
        after = before.copy()
        after[:half] -= self.drift * before[:half] / given
        after[half:] += self.drift / half
        return before, after


@dataclass(slots=True)
class Tally:
    """What many looks saw."""

    looks: int = 0
    bands: Counter[Band] = field(default_factory=Counter)
    too_high: int = 0
    """Looks with a bound above the true distance, in any feature."""
    seen: float = 0.0
    """Sum of the distances of the drifting feature's samples."""

    @property
    def mean_distance(self) -> float:
        """The distance that a look without a bound would go by."""
        return self.seen / self.looks


def simulate(world: World, bands: Bands, *, looks: int, seed: int) -> Tally:
    """Draw and decide; the same seed gives the same tally."""
    random = np.random.Generator(np.random.PCG64([seed, world.answers, round(world.drift * 1e4)]))
    before, after = world.shares()
    tally = Tally()
    for _ in range(looks):
        drifts = [
            compare(
                f"feature {number}",
                _drawn(random, before, world.answers),
                _drawn(random, before if number else after, world.answers),
                alpha=bands.alpha / FEATURES,
            )
            for number in range(FEATURES)
        ]
        truth = [world.drift, *(0.0 for _ in drifts[1:])]
        tally.looks += 1
        tally.bands[decide(drifts, bands).band or Band.QUIET] += 1
        tally.too_high += any(one.lower > true for one, true in zip(drifts, truth, strict=True))
        tally.seen += drifts[0].distance
    return tally


def _drawn(random: np.random.Generator, shares: np.ndarray, size: int) -> dict[str, int]:
    return {f"bin {one}": int(n) for one, n in enumerate(random.multinomial(size, shares))}


def worlds(sizes: Sequence[int], drifts: Sequence[float]) -> Iterator[World]:
    """Give the worlds that the command prints."""
    for drift, size, name in product(drifts, sizes, ("equal", "skewed")):
        yield World(name, size, drift)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how often a look at eight features ends in which band."""
    parser = argparse.ArgumentParser(
        prog="python -m nexus_monitor.simulation", description=main.__doc__
    )
    parser.add_argument("--looks", type=int, default=400, help="looks for each row")
    parser.add_argument("--answers", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--drift", type=float, nargs="+", default=[0.0, 0.03, 0.1, 0.2])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    sys.stdout.write(
        f"Eight features of ten bins, one of which drifts.  {args.looks} looks a row; in brackets "
        "95 % intervals.\n\n"
        "| bins | answers | true drift | distance seen | any band | retrain | stop "
        "| a bound too high |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    for world in worlds(args.answers, args.drift):
        tally = simulate(world, Bands(), looks=args.looks, seed=args.seed)
        sys.stdout.write(_row(world, tally))
        sys.stdout.flush()


def _row(world: World, tally: Tally) -> str:
    any_band = tally.looks - tally.bands[Band.QUIET]
    return (
        f"| {world.name} | {world.answers} | {world.drift:.0%} | {tally.mean_distance:.1%} "
        f"| {_share(any_band, tally.looks)} | {tally.bands[Band.RETRAIN] / tally.looks:.1%} "
        f"| {tally.bands[Band.STOP] / tally.looks:.1%} | {_share(tally.too_high, tally.looks)} |\n"
    )


def _share(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{count / of:.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    main()
