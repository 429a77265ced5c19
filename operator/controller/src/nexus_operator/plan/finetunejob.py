"""The plan of a FineTuneJob: runs one after another, and moves of its champion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import FINALIZER, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.finetune import (
    finetune_workflow,
    release_name,
    release_workflow,
    shutdown,
    tuning_run_name,
)
from nexus_operator.objects import name_of
from nexus_operator.plan.model import Doomed, Plan, Seen, doomed
from nexus_operator.plan.production import production_text, production_unit
from nexus_operator.plan.tuning_alerts import LOOK_AGAIN as ALERTS_LOOK
from nexus_operator.plan.tuning_alerts import NOTIFIED, notified
from nexus_operator.plan.tuning_hindrance import PASSING, hindrance
from nexus_operator.plan.tuning_recovery import (
    HINDRANCE,
    Recovery,
    lineage_note,
    recovery,
    settled,
)
from nexus_operator.plan.tuning_requests import (
    answered,
    blocked,
    open_request,
    open_runs,
    request_id,
    unreadable,
    wished_move,
)
from nexus_operator.plan.tuning_schedule import (
    LastStart,
    NextRun,
    covered,
    fingerprint,
    next_run,
    settings_text,
)
from nexus_operator.plan.tuning_teardown import plan_tuning_teardown
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding, merge, transitions
from nexus_operator.status.failure import Failure
from nexus_operator.status.finetunejob import TuningOutlook, findings, parsed
from nexus_operator.status.tuning_history import (
    Newest,
    champion_status,
    decision_status,
    last_run_status,
    newest_run,
)
from nexus_operator.status.tuning_runs import TuningRun, newest_first, read_tuning_run

LOOK_AGAIN = timedelta(seconds=30)
"""How soon to look at a run whose news should have been heard of."""

_SHORTEST_WAIT = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class _View:
    """The Workflows of this very job, newest first, and those of a former one of its name."""

    runs: Sequence[TuningRun]
    moves: Sequence[TuningRun]
    strangers: Sequence[TuningRun]


def plan_finetunejob(job: FineTuneJob, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Decide what the cluster should hold for one FineTuneJob.  Pure: same inputs, same plan."""
    if job.deleting:
        return plan_tuning_teardown(job, seen, now)
    view = _view(job, seen, now)
    hindered = hindrance(job, seen, settings)
    if hindered is None and view.strangers:
        name = view.strangers[0].name
        hindered = Failure("Waiting", f"Waiting for {name} of a former job of this name to go")
    champion = champion_status(job, (*view.runs, *view.moves))
    lost = recovery(job, view.moves, now, found=bool(champion))
    if hindered is None and lost is not None:
        hindered = HINDRANCE
    newest, due = _newest(job, view, hindered, now)
    shown = {
        "lastRun": last_run_status(job, newest, now),
        **decision_status(job, newest, now),
        **champion,
    }
    shown["answered"] = answered(job, _answers(job, view, newest))
    alerted = notified(job, seen, settings)
    conditions = _conditions(job, view, newest, due, hindered, shown, alerted, now)
    old = [one.manifest() for one in job.status.conditions]
    return Plan(
        status={
            "observedGeneration": job.metadata.generation,
            "conditions": conditions,
            "lineage": job.lineage,
            **shown,
        },
        annotate=lineage_note(job, has_champion=bool(shown.get("champion") or job.status.champion)),
        create=tuple(_create(job, view, newest, hindered, lost, seen, settings)),
        apply=_cancelled(job, newest, seen),
        delete=_worn_out(job, view, newest, seen),
        add_finalizer=FINALIZER not in job.metadata.finalizers,
        events=transitions(old, conditions),
        requeue_after=_look_again(view, newest, due, hindered, lost, alerted, now),
    )


def _view(job: FineTuneJob, seen: Seen, now: datetime) -> _View:
    found = newest_first(read_tuning_run(one, now=now) for one in seen.of_kind("Workflow"))
    own = [run for run in found if run.parameters.get("uid") == job.lineage]
    return _View(
        runs=[run for run in own if run.what == "run"],
        moves=[run for run in own if run.what == "release"],
        strangers=[run for run in found if run.parameters.get("uid") != job.lineage],
    )


def _newest(
    job: FineTuneJob, view: _View, hindered: Failure | None, now: datetime
) -> tuple[Newest | None, NextRun | None]:
    """Return the newest run, which may be one that starts now, else when the next one does."""
    newest = newest_run(job, view.runs, now)
    if hindered is not None or (newest is not None and newest.busy):
        return newest, None
    last = LastStart(at=newest.started, fingerprint=newest.fingerprint) if newest else None
    due = next_run(job, last, now)
    if due is None or due.at > now or not _end_is_told(job, newest):
        return newest, due
    name = tuning_run_name(job, after=newest.name if newest else "")
    starting = Newest(
        name=name,
        state="starting",
        started=now.replace(microsecond=0),
        cause=due.cause,
        request=due.request,
        fingerprint=fingerprint(job.spec),
    )
    return starting, None


def _end_is_told(job: FineTuneJob, newest: Newest | None) -> bool:
    """Tell whether the status has the end of the last run: only then may another take its place."""
    told = job.status.last_run
    if newest is None:
        return True
    return told is not None and told.name == newest.name and told.finished_at is not None


def _create(
    job: FineTuneJob,
    view: _View,
    newest: Newest | None,
    hindered: Failure | None,
    lost: Recovery | None,
    seen: Seen,
    settings: Settings,
) -> Iterator[Manifest]:
    spec_json = settings_text(job.spec)
    if newest is not None and newest.state == "starting" and hindered is None:
        yield finetune_workflow(
            job,
            settings,
            name=newest.name,
            request=newest.request,
            cause=newest.cause,
            spec_json=spec_json,
            fingerprint=newest.fingerprint,
            production=production_text(production_unit(job, _production(job, seen))),
            blocked=blocked(job),
        )
    wish = wished_move(job) or (lost.wish if lost else None)
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


def _production(job: FineTuneJob, seen: Seen) -> ServingModel | None:
    named = job.spec.promotion.serving_model_ref
    found = seen.reference("ServingModel", named.name) if named else None
    return ServingModel.model_validate(found) if found is not None else None


def _answers(job: FineTuneJob, view: _View, newest: Newest | None) -> Iterator[str]:
    """Yield the requests that need no answer from now on."""
    yield from (run.request for run in reversed(view.runs))
    yield from (run.request for run in reversed(view.moves) if settled(run))
    if newest is not None and newest.state != "starting":
        last = LastStart(at=newest.started, fingerprint=newest.fingerprint)
        yield from (request for request in open_runs(job) if covered(request, last))
    if not _may_be_cancelled(job, newest):
        yield request_id(job, "cancel")
    if job.spec.promotion.pinned_version is not None:
        yield request_id(job, "promote")
        yield request_id(job, "rollback")


def _may_be_cancelled(job: FineTuneJob, newest: Newest | None) -> bool:
    """Tell whether there was a run to cancel already, and nobody has told it to end."""
    if newest is None or not newest.busy:
        return False
    if newest.run is not None:
        return not newest.run.cancelled
    told = job.status.last_run
    return told is not None and told.name == newest.name


def _cancelled(job: FineTuneJob, newest: Newest | None, seen: Seen) -> tuple[Manifest, ...]:
    """Return the running Workflow as it is to be when somebody asked to cancel it."""
    if newest is None or newest.state != "running" or not open_request(job, "cancel"):
        return ()
    found = seen.child("Workflow", newest.name)
    return (shutdown(found),) if found is not None else ()


def _conditions(
    job: FineTuneJob,
    view: _View,
    newest: Newest | None,
    due: NextRun | None,
    hindered: Failure | None,
    shown: Manifest,
    alerted: Finding | None,
    now: datetime,
) -> list[Manifest]:
    decision, champion = parsed(shown, job)
    outlook = TuningOutlook(
        newest=newest,
        next_at=due.at if due else None,
        next_cause=due.cause if due else "",
        hindrance=hindered,
        moves=view.moves,
        unreadable="" if job.spec.promotion.pinned_version else unreadable(job),
        decision=decision,
        champion=champion,
        released_at=champion.released_at if champion else None,
    )
    old = [one.manifest() for one in job.status.conditions]
    generation = job.metadata.generation
    found = [*findings(job, outlook), *([alerted] if alerted else [])]
    drop = frozenset() if alerted else frozenset({NOTIFIED})
    return merge(old, found, generation=generation, now=now, drop=drop)


def _worn_out(
    job: FineTuneJob, view: _View, newest: Newest | None, seen: Seen
) -> tuple[Doomed, ...]:
    """Return finished Workflows beyond those kept, and those that a former job left behind."""
    names = {run.name for run in view.strangers}
    for runs in (view.runs, view.moves):
        ended = [run.name for run in runs if not run.running]
        names.update(ended[job.spec.runs_kept :])
    if newest is not None:
        names.discard(newest.name)
    return doomed(one for one in seen.of_kind("Workflow") if name_of(one) in names)


def _look_again(
    view: _View,
    newest: Newest | None,
    due: NextRun | None,
    hindered: Failure | None,
    lost: Recovery | None,
    alerted: Finding | None,
    now: datetime,
) -> timedelta | None:
    waits = [max(due.at - now, _SHORTEST_WAIT)] if due is not None else []
    busy = (newest is not None and newest.busy) or any(run.running for run in view.moves)
    passing = hindered is not None and hindered.reason in PASSING
    if due is None and (busy or passing or lost is not None):
        waits.append(LOOK_AGAIN)
    if alerted is not None and alerted.reason in ALERTS_LOOK:
        waits.append(ALERTS_LOOK[alerted.reason])
    return min(waits, default=None)
