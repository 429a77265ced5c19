"""What `select/selection.json` says: counts, digests, and what was left out.  Pure."""

from collections import Counter
from typing import Any

from nexus_evaluation.golden import GoldenSet
from nexus_pipelines.finetune.select.core import Plan, Selection
from nexus_pipelines.finetune.select.examples import Rejected, Source
from nexus_pipelines.finetune.select.files import NAMED
from nexus_pipelines.finetune.select.sources import Gathered

SCHEMA = 1


def selection_document(
    selection: Selection,
    gathered: Gathered,
    golden: GoldenSet,
    plan: Plan,
    *,
    uid: str,
    golden_uri: str,
) -> dict[str, Any]:
    """Describe a selection of the job `uid`; texts of examples are not part of it."""
    rejected: list[Rejected] = sorted([*gathered.reading.rejected, *selection.rejected])
    by_source = Counter(one.source for one in selection.train)
    curated = by_source[Source.CURATED]
    return {
        "schema": SCHEMA,
        "uid": uid,
        "asOf": plan.as_of,
        "seed": plan.seed,
        "rows": _counts(gathered.rows),
        "train": _counts(by_source),
        "heldout": _counts(Counter(one.source for one in selection.heldout)),
        "curatedPercent": {
            "wanted": plan.curated_percent,
            "got": round(100 * curated / max(len(selection.train), 1), 1),
        },
        "malformed": _counts(gathered.malformed),
        "dropped": _counts(selection.dropped),
        "rejected": [one._asdict() for one in rejected[:NAMED]],
        "leaked": {
            "count": len(selection.leaked),
            "first": [
                {"example": example, "rule": rule, "golden": item}
                for example, rule, item in selection.leaked[:NAMED]
            ],
        },
        "redacted": {
            "examples": selection.redacted_examples,
            "places": _counts(selection.redacted),
        },
        "judged": selection.judged,
        "golden": {
            "uri": golden_uri,
            "name": golden.name,
            "version": golden.version,
            "digest": golden.digest,
            "items": len(golden.items),
        },
        "objects": len(gathered.reading.objects),
        "otherFiles": {
            "count": len(gathered.reading.other_files),
            "first": gathered.reading.other_files[:NAMED],
        },
        "olderRuns": gathered.older_runs,
    }


def summary(document: dict[str, Any]) -> str:
    """Say in a line what was chosen and what was left out."""
    left_out = Counter(document["malformed"]) + Counter(document["dropped"])
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    redacted = document["redacted"]["examples"]
    return (
        f"{sum(document['train'].values())} to train on, {sum(document['heldout'].values())} held "
        f"out, {document['golden']['items']} golden items; left out: {reasons or 'nothing'}"
        + (f"; personal data redacted in {redacted}" if redacted else "")
    )


def _counts(counter: "Counter[str] | Counter[Source]") -> dict[str, int]:
    return {str(name): count for name, count in sorted(counter.items()) if count}
