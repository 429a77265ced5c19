"""The Workflows of a FineTuneJob, as they are seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_operator.objects import name_of
from nexus_operator.plan.model import Seen
from nexus_operator.status.tuning_runs import TuningRun, newest_first, read_tuning_run


@dataclass(frozen=True, kw_only=True)
class TuningView:
    """The Workflows of this very job, newest first, and what a former one of its name left."""

    runs: Sequence[TuningRun]
    moves: Sequence[TuningRun]
    counts: Sequence[TuningRun]
    strangers: Sequence[TuningRun]


def tuning_view(job: FineTuneJob, seen: Seen, now: datetime) -> TuningView:
    """Sort what is there by what it is, and by whose it is."""
    found = newest_first(
        read_tuning_run(one, now=now, progress=seen.training.get(name_of(one)))
        for one in seen.of_kind("Workflow")
    )
    own = [run for run in found if run.parameters.get("uid") == job.lineage]
    return TuningView(
        runs=[run for run in own if run.what == "run"],
        moves=[run for run in own if run.what == "release"],
        counts=[run for run in own if run.what == "count"],
        strangers=[
            run
            for run in found
            if run.parameters.get("uid") != job.lineage or run.what == "teardown"
        ],
    )
