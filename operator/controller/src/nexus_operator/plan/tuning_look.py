"""How soon a FineTuneJob is looked at again although nothing was heard."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from nexus_operator.plan.looks import SHORTEST_WAIT
from nexus_operator.plan.tuning_hindrance import PASSING
from nexus_operator.plan.tuning_schedule import LOOK_AGAIN, NextRun
from nexus_operator.plan.tuning_view import TuningView
from nexus_operator.status.failure import Failure
from nexus_operator.status.tuning_history import Newest

TRAINING_LOOK = timedelta(seconds=15)
"""How soon to look at a training again, which says every so often how far it is."""


def look_again(
    view: TuningView,
    newest: Newest | None,
    due: NextRun | None,
    hindered: Failure | None,
    now: datetime,
    *,
    echo: bool,
    asides: Iterable[timedelta | None],
) -> timedelta | None:
    """Return how soon to look again, None for not before something is heard.

    due: the run that starts next, if one will.
    echo: whether what follows waits until this plan is carried out.
    asides: how soon for the sake of what stands beside runs, None for what needs no look.
    """
    waits = [max(due.at - now, SHORTEST_WAIT)] if due is not None else []
    waits += [max(one, SHORTEST_WAIT) for one in asides if one is not None]
    busy = (newest is not None and newest.busy) or any(run.running for run in view.moves)
    passing = hindered is not None and hindered.reason in PASSING
    if due is None and (busy or passing or echo):
        waits.append(TRAINING_LOOK if newest and newest.trains else LOOK_AGAIN)
    return min(waits, default=None)
