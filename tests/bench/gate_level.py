"""How often one gate's bound exceeds 0 at no difference, on many draws, against what it may.

`python -m nexus_evaluation.simulation` runs whole gates, and few of them.  This draws 20,000 pairs
for each world and computes the bounds alone, the bootstrap's only where the gain is above two
standard errors: it exceeds 0 nowhere else.  Slices and floors can only lower the rate.

    .venv/bin/python tests/bench/gate_level.py [draws]
"""

import sys

import numpy as np

from nexus_evaluation.assessment import compare
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.simulation import MONTHS, World, draw_golden, draw_pairs
from nexus_evaluation.statistics.clusters import clustered
from nexus_evaluation.statistics.mcnemar import gain_lower
from nexus_evaluation.statistics.shares import share_interval

LEVEL = 0.05 / MONTHS
WORLDS = [
    World("exact match", "exactMatch", 600, 150, 0.12, 0.0),
    World("exact match", "exactMatch", 600, 150, 0.2, 0.0),
    World("exact match", "exactMatch", 600, 150, 0.3, 0.0),
    World("exact match", "exactMatch", 240, 60, 0.12, 0.0),
    World("exact match", "exactMatch", 240, 60, 0.2, 0.0),
    World("exact match", "exactMatch", 240, 60, 0.3, 0.0),
    World("exact match, documents alike", "exactMatch", 240, 60, 0.3, 0.0, shared=0.6),
    World("exact match, items alone", "exactMatch", 120, 120, 0.3, 0.0, shared=0.0),
    World("exact match", "exactMatch", 120, 20, 0.12, 0.0),
    World("exact match", "exactMatch", 120, 20, 0.3, 0.0),
    World("F1", "f1", 600, 150, 0.5, 0.0),
    World("F1", "f1", 240, 60, 0.5, 0.0),
    World("F1, rare large losses", "f1", 240, 60, 0.5, 0.0, win=0.25),
    World("F1, rare large wins", "f1", 240, 60, 0.5, 0.0, loss=0.1),
    World("F1", "f1", 120, 20, 0.5, 0.0),
    World("F1, rare large losses", "f1", 120, 20, 0.5, 0.0, win=0.25),
    World("F1, rare large wins", "f1", 120, 20, 0.5, 0.0, loss=0.1),
]


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"{draws} gates a row; each may be wrong in {LEVEL:.3%}, a year of them in 5 %.\n")
    print("| metric | items/documents | differing | wrong gates | a year | McNemar alone |")
    print("| --- | --- | --- | --- | --- | --- |")
    for world in WORLDS:
        wrong, exact = rates(world, draws)
        low, high = share_interval(wrong, draws)
        year = 1 - (1 - wrong / draws) ** MONTHS
        alone = f"{exact / draws:.2%}" if world.metric == "exactMatch" else ""
        print(
            f"| {world.name} | {world.items}/{world.documents} | {world.discordant:.0%} "
            f"| {wrong / draws:.2%} [{low:.2%}, {high:.2%}] | {year:.1%} | {alone} |",
            flush=True,
        )


def rates(world: World, draws: int) -> tuple[int, int]:
    """Count bounds above 0: the gate's, and those of McNemar's test alone."""
    policy, random = GatePolicy(metric=world.metric), np.random.default_rng(5)
    wrong = exact = 0
    for draw in range(draws):
        if draw % 500 == 0:
            documents, slices = draw_golden(world, random)
        pairs = draw_pairs(world, documents, slices, random)
        differences = pairs.differences
        if policy.binary:
            wins, losses = differences.count(1.0), differences.count(-1.0)
            exact += gain_lower(wins, losses, world.items, LEVEL) > 0
        found = clustered(differences, pairs.clusters)
        if found.mean > 2 * found.standard_error:
            wrong += compare(policy, pairs, LEVEL).lower > 0
    return wrong, exact


if __name__ == "__main__":
    main()
