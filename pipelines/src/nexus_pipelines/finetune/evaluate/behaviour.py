"""Behavioural tests of a side: some golden items asked otherwise, in ways whose effect is known."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nexus_evaluation.behavioural import Perturbed, judge, perturb
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import OVERLAP
from nexus_pipelines.finetune.evaluate.core import Reply

PROBED = 20
"""Items that are asked otherwise: each makes up to seven questions more for either side."""


def probes(items: Iterable[GoldenItem]) -> tuple[Perturbed, ...]:
    """Return the changed items: of the same ones whatever the order, and for either side."""
    chosen = sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:PROBED]
    return perturb(sorted(chosen, key=lambda item: item.id))


def behaviour(
    probed: Sequence[Perturbed],
    items: Iterable[GoldenItem],
    replies: Mapping[str, Reply],
    metric: str,
) -> list[dict[str, Any]]:
    """Judge the answers by a metric; by f1 where that one is no overlap with references."""
    overlap = OVERLAP.get(metric, OVERLAP["f1"])
    found = judge(
        probed,
        {item.id: item for item in items},
        {reply.id: reply.answer for reply in replies.values()},
        lambda answer, item: overlap(answer, item.references, item.language),
    )
    return [one.model_dump(mode="json", by_alias=True) for one in found]
