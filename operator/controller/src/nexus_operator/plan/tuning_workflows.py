"""The Workflows that a FineTuneJob wants made: runs, moves of its champion, counts of new data."""

from collections.abc import Iterator
from datetime import datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_operator.build.finetune import (
    count_workflow,
    finetune_workflow,
    release_name,
    release_workflow,
)
from nexus_operator.plan.model import Seen
from nexus_operator.plan.production import production_text, production_unit, served_by
from nexus_operator.plan.tuning_new_data import Counting
from nexus_operator.plan.tuning_requests import Wish, blocked
from nexus_operator.plan.tuning_schedule import fingerprint, settings_text
from nexus_operator.plan.tuning_view import TuningView
from nexus_operator.settings import Settings
from nexus_operator.status.failure import Failure
from nexus_operator.status.tuning_history import Newest


def wanted_workflows(
    job: FineTuneJob,
    view: TuningView,
    newest: Newest | None,
    hindered: Failure | None,
    wish: Wish | None,
    seen: Seen,
    settings: Settings,
) -> Iterator[Manifest]:
    """Yield the run that starts now, and the move of the champion that is to be made: `wish`."""
    spec_json = settings_text(job.spec)
    if newest is not None and newest.state == "starting" and hindered is None:
        model = served_by(job, seen)
        yield finetune_workflow(
            job,
            settings,
            name=newest.name,
            request=newest.request,
            cause=newest.cause,
            spec_json=spec_json,
            # Not what the status says: the spec may have changed while the run was refused.
            fingerprint=fingerprint(job.spec),
            production=production_text(production_unit(job, model)),
            model=model,
            blocked=blocked(job),
        )
    there = {run.name for run in (*view.moves, *view.strangers)}
    if wish is None or "Workflow" in seen.missing or any(run.running for run in view.moves):
        return
    if release_name(job, wish.request) not in there:
        yield release_workflow(
            job,
            settings,
            request=wish.request,
            action=wish.action,
            version=wish.version,
            by=wish.by,
            spec_json=spec_json,
        )


def wanted_count(
    job: FineTuneJob,
    newest: Newest | None,
    counts: Counting | None,
    count_at: datetime | None,
    seen: Seen,
    settings: Settings,
    now: datetime,
) -> Iterator[Manifest]:
    """Yield the count of new examples that is due by `count_at`."""
    if counts is not None and count_at is not None and count_at <= now:
        yield count_workflow(
            job,
            settings,
            number=counts.next_number,
            after=newest.name if newest else "",
            spec_json=settings_text(job.spec),
            production=production_text(production_unit(job, served_by(job, seen))),
        )
