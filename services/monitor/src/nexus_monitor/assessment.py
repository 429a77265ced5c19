"""Two samples of answers, compared feature by feature, and what follows.  Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nexus_monitor.bands import Bands
from nexus_monitor.cells import CELLS, Vectors, topic_counts
from nexus_monitor.drift import Drift, compare
from nexus_monitor.features import ORDER, Labels, counted
from nexus_monitor.triage import Decision, decide, too_few

TOPIC = "topic"
"""The feature of the cells of meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What was found of one model."""

    reference: int
    current: int
    drifts: tuple[Drift, ...]
    decision: Decision


def assess(
    reference: Sequence[Labels],
    current: Sequence[Labels],
    bands: Bands,
    *,
    topics: tuple[Vectors, Vectors] | None = None,
    stale: str = "",
) -> Assessment:
    """Compare two samples and decide.

    ``topics``: vectors of questions of each, where an embedder was asked.  ``stale``: what the
    index lacks, as a clause.  A feature that fewer than ``bands.least`` answers of a sample have
    is left out.
    """
    before, after = counted(reference), counted(current)
    if topics is not None and len(topics[0]) >= 2 * CELLS:
        before[TOPIC], after[TOPIC] = topic_counts(*topics)
    features = [
        name
        for name in sorted(before.keys() | after.keys())
        if _enough(before.get(name), bands.least) and _enough(after.get(name), bands.least)
    ]
    if not features:
        decision = too_few(len(reference), len(current), bands.least)
        return Assessment(
            reference=len(reference), current=len(current), drifts=(), decision=decision
        )
    alpha = bands.alpha / len(features)  # so that all bounds hold together
    drifts = tuple(
        compare(name, before[name], after[name], alpha=alpha, order=ORDER.get(name, ()))
        for name in features
    )
    return Assessment(
        reference=len(reference),
        current=len(current),
        drifts=drifts,
        decision=decide(drifts, bands, stale=stale),
    )


def _enough(counts: Counter[str] | None, least: int) -> bool:
    return counts is not None and counts.total() >= least
