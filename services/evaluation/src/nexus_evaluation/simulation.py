"""How often the gate is wrong, measured: `python -m nexus_evaluation.simulation`.

Each simulated gate is the real one (`gate.gather` and `verdict.judge`, slices included) on drawn
pairs; a year is twelve gates on one golden set that share its alpha.  Pairs are drawn by a latent
normal variable with a part that the items of a document share, so that they depend on each other
as those of real documents do.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from scipy.special import ndtri

from nexus_evaluation.gate import gather
from nexus_evaluation.pairs import Pairs
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.statistics.shares import share_interval
from nexus_evaluation.statistics.spending import next_level
from nexus_evaluation.verdict import judge

MONTHS = 12


@dataclass(frozen=True, slots=True)
class World:
    """How a candidate truly compares with production, on which golden set."""

    name: str
    metric: str  # exactMatch or f1
    items: int
    documents: int
    discordant: float  # share of items on which the two differ
    gain: float  # true mean difference
    shared: float = 0.2  # part of the latent variance that a document's items share
    win: float = 0.4  # f1: mean size of a win
    loss: float = 0.4  # and of a loss


@dataclass(slots=True)
class Tally:
    """What the gates of many years said."""

    years: int = 0
    wrong_years: int = 0  # with one promotion or more
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def gates(self) -> int:
        """How many gates."""
        return self.reasons.total()

    @property
    def promoted(self) -> int:
        """How many promoted."""
        return self.reasons["Better"]


def simulate(world: World, policy: GatePolicy, *, years: int, seed: int) -> Tally:
    """Run years of monthly gates; every promotion is counted, and the year goes on."""
    tally = Tally()
    own = crc32(repr(world).encode())  # worlds of one seed are drawn apart
    for year in range(years):
        random = np.random.Generator(np.random.PCG64([seed, own, year]))
        documents, slices = draw_golden(world, random)
        spent: list[float] = []
        promoted = False
        for _ in range(MONTHS):
            spending = next_level(policy.alpha, policy.decisions, spent)
            pairs = draw_pairs(world, documents, slices, random)
            outcome = judge(policy, gather(policy, pairs, spending), spending, "", alone=False)
            tally.reasons[outcome.reason] += 1
            promoted |= outcome.verdict == "Promote"
            if outcome.tested and not spending.spent_out:
                spent.append(spending.level)
        tally.years += 1
        tally.wrong_years += promoted
    return tally


def draw_golden(
    world: World, random: np.random.Generator
) -> tuple[tuple[int, ...], tuple[dict[str, str], ...]]:
    """Draw a golden set: the document of each item, and its slices."""
    rest = random.integers(0, world.documents, size=world.items - world.documents)
    documents = (*range(world.documents), *(int(number) for number in rest))
    languages = random.choice(["en", "de", "es"], size=world.documents, p=[0.6, 0.25, 0.15])
    topics = random.integers(0, 4, size=world.documents)
    lengths = random.choice(["short", "medium", "long"], size=world.items, p=[0.5, 0.4, 0.1])
    slices = tuple(
        {
            "language": str(languages[document]),
            "topic": f"topic {topics[document]}",
            "length": str(lengths[item]),
        }
        for item, document in enumerate(documents)
    )
    return documents, slices


def draw_pairs(
    world: World,
    documents: Sequence[int],
    slices: tuple[dict[str, str], ...],
    random: np.random.Generator,
) -> Pairs:
    """Draw a candidate's and production's scores on a golden set."""
    common = random.normal(size=world.documents)[list(documents)]
    own = random.normal(size=world.items)
    latent = np.sqrt(world.shared) * common + np.sqrt(1 - world.shared) * own
    won, lost, win, loss = _shares(world)
    wins = latent > -ndtri(won)
    losses = latent < ndtri(lost)
    if world.metric == "exactMatch":
        # Where both agree, half are right: the level has no part in the test.
        production = np.where(wins, 0.0, np.where(losses, 1.0, random.integers(0, 2, world.items)))
        candidate = np.where(wins, 1.0, np.where(losses, 0.0, production))
    else:
        size = np.where(wins, win, np.where(losses, -loss, 0.0))
        # Amounts between nothing and twice the mean, so that the mean is exact.
        size = size * 2 * random.beta(2, 2, world.items)
        production = 0.5 - size / 2
        candidate = production + size
    return Pairs(
        clusters=tuple(f"document {number}" for number in documents),
        slices=slices,
        candidate=tuple(candidate.tolist()),
        production=tuple(production.tolist()),
    )


def _shares(world: World) -> tuple[float, float, float, float]:
    """Give the shares of wins and losses, and the mean amounts of each."""
    if world.metric == "exactMatch":
        return (world.discordant + world.gain) / 2, (world.discordant - world.gain) / 2, 1.0, 1.0
    # won * win - lost * loss = gain, won + lost = discordant
    won = (world.gain + world.discordant * world.loss) / (world.win + world.loss)
    return won, world.discordant - won, world.win, world.loss


def worlds(items: Sequence[int], gains: Sequence[float] = (0.0, 0.1)) -> Iterator[World]:
    """Give the worlds that the command prints."""
    for size in items:
        documents = size // 4
        for gain in gains:
            for discordant in (0.12, 0.2, 0.3):
                yield World("exact match", "exactMatch", size, documents, discordant, gain)
            yield World("F1", "f1", size, documents, 0.5, gain)
            yield World("F1, rare large wins", "f1", size, documents, 0.5, gain, loss=0.1)
            yield World("F1, rare large losses", "f1", size, documents, 0.5, gain, win=0.25)
            yield World("F1, items alone", "f1", size, size, 0.5, gain, shared=0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print false promotions in a year at no difference, and power at ten points."""
    parser = argparse.ArgumentParser(
        prog="python -m nexus_evaluation.simulation", description=main.__doc__
    )
    parser.add_argument("--years", type=int, default=100, help="years for each row")
    parser.add_argument("--items", type=int, nargs="+", default=[240, 600])
    parser.add_argument("--gain", type=float, nargs="+", default=[0.0, 0.1], help="true gains")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    sys.stdout.write(
        "Twelve monthly gates a year on one golden set, three languages, four topics, three "
        f"lengths.\n{args.years} years a row; in brackets 95 % intervals.\n\n"
        "| metric | items/documents | differing | true gain | what | rate | underpowered "
        "| slice veto |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    wrong = years = 0
    for world in worlds(args.items, args.gain):
        policy = GatePolicy(metric=world.metric)
        tally = simulate(world, policy, years=args.years, seed=args.seed)
        sys.stdout.write(_row(world, tally))
        sys.stdout.flush()
        if world.gain == 0.0:
            wrong, years = wrong + tally.wrong_years, years + tally.years
    if not years:
        return
    low, high = share_interval(wrong, years)
    sys.stdout.write(
        f"\nAt no difference, all rows: {wrong} of {years} years with a false promotion, "
        f"{wrong / years:.1%} [{low:.1%}, {high:.1%}].\n"
    )


def _row(world: World, tally: Tally) -> str:
    what, count, of = "promoted", tally.promoted, tally.gates
    if world.gain == 0.0:
        what, count, of = "years with a false promotion", tally.wrong_years, tally.years
    low, high = share_interval(count, of)
    under, vetoed = (
        tally.reasons[reason] / tally.gates for reason in ("EffectTooSmall", "SliceWorse")
    )
    return (
        f"| {world.name} | {world.items}/{world.documents} | {world.discordant:.0%} "
        f"| {world.gain:+.2f} | {what} | {count / of:.1%} [{low:.1%}, {high:.1%}] "
        f"| {under:.0%} | {vetoed:.1%} |\n"
    )


if __name__ == "__main__":
    main()
