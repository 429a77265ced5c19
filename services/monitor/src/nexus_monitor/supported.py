"""How many of a model's answers their passages carry, and how sure that is.  Pure.

An answer counts as supported when its `support` (`nexus_evaluation.metrics.support`, which is no
judge of faithfulness) reaches `SUPPORTED`.  `tests/bench/support.py` prints how many true and how
many foreign texts do.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from nexus_knowledge.ledger import Response
from nexus_knowledge.prompting.prompt import NOTHING_RELEVANT

SUPPORTED: Final = 0.25
"""Least support of an answer that its passages carry."""
SAMPLE: Final = 200
"""Answers of one version that are looked at: their bounds lie 6 points from their share at most."""
LEAST: Final = 50
"""Scored answers below which nothing is said."""
_Z: Final = 1.6449  # of one side at 95 %


@dataclass(frozen=True, slots=True)
class Version:
    """Who gave an answer, and from which documents."""

    model: str  # with its adapter: MODEL or MODEL:ADAPTER
    index: str
    revision: str
    adapter_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Supported:
    """What was found of one version's answers."""

    answers: int
    """Grounded answers in the window, of which a sample is scored."""
    scored: int
    supported: int
    unsupported: tuple[str, ...] = ()
    """Ids of some of the others."""

    @property
    def enough(self) -> bool:
        """Whether the bounds say something."""
        return self.scored >= LEAST

    @property
    def share(self) -> float:
        """The share of supported answers in the sample; 0 of nothing."""
        return self.supported / self.scored if self.scored else 0.0

    @property
    def lower(self) -> float:
        """The smallest share of all answers that the sample allows for, at 95 %."""
        return 1.0 - highest(self.scored - self.supported, self.scored)

    @property
    def upper(self) -> float:
        """The largest share of all answers that the sample allows for, at 95 %."""
        return highest(self.supported, self.scored)


def highest(count: int, of: int) -> float:
    """Bound a share from above, by Wilson's one-sided interval at 95 %; 1 of nothing and of all.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if count >= of:
        return 1.0
    share, square = count / of, _Z**2
    reach = _Z * sqrt(share * (1 - share) / of + square / (4 * of**2))
    return (share + square / (2 * of) + reach) / (1 + square / of)


def of_the_newest(responses: Iterable[Response]) -> dict[Version, list[Response]]:
    """Return the grounded answers of each model's newest version: that of its newest answer.

    What an earlier version said is no fault of the one that serves.  ``responses``: the oldest
    ones first.
    """
    given: dict[Version, list[Response]] = {}
    newest: dict[str, Version] = {}
    for one in responses:
        if grounded(one):
            version = Version(one.model, one.index, one.revision, one.adapter_version)
            given.setdefault(version, []).append(one)
            newest[one.model] = version
    return {version: given[version] for version in newest.values()}


def grounded(response: Response) -> bool:
    """Tell whether a model answered from passages, and did not say that they hold nothing."""
    said = response.answer.strip()
    return bool(response.index and passages(response)) and said not in {"", NOTHING_RELEVANT}


def passages(response: Response) -> list[str]:
    """Return the texts that an answer was given from."""
    told = (one.get("text") for one in response.passages)
    return [one for one in told if isinstance(one, str) and one.strip()]


def sampled(responses: Sequence[Response]) -> list[Response]:
    """Draw answers, in an order that has nothing to do with them: any beginning is a sample, too.

    By a hash of their ids, so that each look draws those of the last one, as far as they are there.
    """
    return sorted(responses, key=lambda one: hashlib.sha256(one.response_id.encode()).digest())[
        :SAMPLE
    ]
