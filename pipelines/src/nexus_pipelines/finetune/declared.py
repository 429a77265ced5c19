"""Whether the golden items declare what the metric `facts` counts: asked before any training."""

from collections.abc import Iterable

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_evaluation.golden import GoldenItem
from nexus_pipelines.errors import StepError

_NAMED = 5  # items that an error names


class NoFactsDeclared(StepError):
    """A job wants the metric `facts`, and items of its golden set declare none."""


def demand_facts(spec: FineTuneJobSpec, items: Iterable[GoldenItem]) -> None:
    """Hold a job that names the metric `facts` against its golden set.

    Raises:
        NoFactsDeclared: items declare none: a mean over the others would be of another set.
    """
    chosen = spec.evaluation
    named = {chosen.primary_metric, *chosen.metrics, *(floor.metric for floor in chosen.floors)}
    bare = [item.id for item in items if not item.facts] if "facts" in named else []
    if not bare:
        return
    if chosen.golden_set is None:
        raise NoFactsDeclared(
            "the metric facts counts what golden items declare, and held-out examples declare "
            "nothing: name a golden set (evaluation.goldenSet), or take another metric"
        )
    first = ", ".join(repr(one) for one in bare[:_NAMED])
    raise NoFactsDeclared(
        f"the metric facts counts what golden items declare, and {len(bare)} items of the golden "
        f"set declare nothing ({first}): give them facts, or take another metric"
    )
