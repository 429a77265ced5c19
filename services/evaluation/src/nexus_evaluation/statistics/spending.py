"""How often one golden set may decide: every decision spends a part of the error allowed.

The rule: a version of a golden set (its digest) is made for K decisions, 12 unless the policy says
otherwise: a year of monthly gates.  Each that could have promoted spends alpha / K; when the
rest is smaller than that, the set is spent, and a person decides until there is a new version.

Why it holds.  Let gate k test at level a_k, where a_k follows from earlier decisions only.  Free of
charge is only what has no part in the error: a set with too few items or documents, results that
were refused unread, and pairs of which none differs, which can promote nobody.  If production is
as good as every candidate, the expected number of false promotions is at most E[sum of a_k over
the gates that tested] <= alpha, and so is the chance of one or more (Markov's inequality).
Nothing is assumed about how candidates depend on each other or on earlier verdicts.  What the
bound does not cover is a person, or a training set, that learns from the golden items themselves;
for that, draw new items.

Equal parts, since the first gate of a version must not be much sharper than the last: with parts
6 / (pi^2 k^2) the twelfth gate would test at .0002 and need over half as many items again.
Sources: Lan and DeMets, Discrete sequential boundaries for clinical trials, 1983 (spending);
Blum and Hardt, The Ladder, 2015, and Dwork et al., The reusable holdout, 2015 (why a holdout set
wears out).
"""

from collections.abc import Iterable
from dataclasses import dataclass

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Spending:
    """The level of one decision, and what earlier ones on the same golden set left over."""

    level: float
    before: float
    spent_out: bool


def next_level(alpha: float, decisions: int, spent: Iterable[float]) -> Spending:
    """Give the level for the next decision on a golden set, after those that spent ``spent``."""
    before = sum(sorted(spent))
    level = alpha / decisions
    # Not the other way round: what is no number is not left over.
    left = before + level <= alpha * (1 + _ROUNDING)
    return Spending(level, before, spent_out=not left)
