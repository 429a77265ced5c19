"""Two weeks of answers in a ledger, of which those of the second grew longer."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from nexus_knowledge.ledger.tables import ResponseRow

_ANSWERS = 400
"""Of each week and model."""

_SHORT, _LONG = "Every 30 days.", "The filter is changed every 30 days, " * 8


def drifted_answers(
    longer: Mapping[str, int], *, tenant: str, indexed: str
) -> Iterator[ResponseRow]:
    """Yield the answers of each model of `longer`; that is how many grew, of the 400 of a week.

    indexed: the model that answers by the index of its own name.
    """
    now = datetime.now(UTC)
    for model, grown in longer.items():
        for days, long in ((13, 0), (4, grown)):
            for number in range(_ANSWERS):
                yield ResponseRow(
                    response_id=f"{model}-{days}-{number}",
                    tenant=tenant,
                    model=model,
                    index=indexed if model == indexed else "",
                    question="How often is the filter changed?",
                    answer=_LONG if number < long else _SHORT,
                    passages=[],
                    created_at=now - timedelta(days=days) + timedelta(minutes=number),
                )
