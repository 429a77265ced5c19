"""The gate's report as one HTML page: no scripts, nothing fetched, every text escaped."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from nexus_evaluation.decision import Decision
from nexus_evaluation.diff import Change, diff
from nexus_evaluation.errors import BadResults
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import LOWER_IS_BETTER
from nexus_evaluation.observed import Observed
from nexus_evaluation.plots import WIDTH, forest, histogram
from nexus_evaluation.results import ItemResult

_SHOWN: Final = 200  # items of each kind
_LONGEST: Final = 2000  # characters of a text


def render(
    decision: Decision,
    items: Sequence[GoldenItem],
    candidate: Sequence[ItemResult],
    production: Sequence[ItemResult] | None,
    *,
    title: str,
    observed: Observed | None = None,
) -> str:
    """Write the page; ``title`` says whose decision it is, ``observed`` what else was measured."""
    changes = _changes(decision, candidate, production)
    comparison = decision.comparison
    return str(
        _template().render(
            title=title,
            decision=decision,
            changes=changes,
            observed=observed.rows() if observed else (),
            items={item.id: item for item in items},
            forest=comparison
            and forest(
                comparison,
                decision.slices,
                least=decision.policy.min_gain,
                margin=decision.policy.slice_margin,
            ),
            bars=comparison and histogram(_differences(decision, candidate, production or ())),
            width=WIDTH,
            lower_is_better=LOWER_IS_BETTER,
            shown=_SHOWN,
        )
    )


def _changes(
    decision: Decision, candidate: Sequence[ItemResult], production: Sequence[ItemResult] | None
) -> Mapping[str, Sequence[Change]] | None:
    if production is None:
        return None
    try:
        found = diff(production, candidate, decision.policy.metric)
    except BadResults:
        return None  # refused by the gate, which says why
    return {"Better": found.better, "Worse": found.worse, "Reworded": found.reworded}


def _differences(
    decision: Decision, candidate: Sequence[ItemResult], production: Sequence[ItemResult]
) -> list[float]:
    before = {result.id: result.metrics[decision.policy.metric] for result in production}
    return [result.metrics[decision.policy.metric] - before[result.id] for result in candidate]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


@cache
def environment() -> Any:
    """Make the templates' environment: all texts are escaped, all names must be there."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("nexus_evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["shortened"] = _shortened
    return made


@cache
def _template() -> Any:
    return environment().get_template("report.html.j2")
