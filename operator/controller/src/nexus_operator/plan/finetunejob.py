"""The plan of a FineTuneJob: runs one after another, and moves of its champion."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import FINALIZER, Manifest
from nexus_operator.build.finetune import tuning_run_name
from nexus_operator.build.run import shutdown
from nexus_operator.objects import name_of
from nexus_operator.plan.looks import SETTLED_LOOK
from nexus_operator.plan.model import Doomed, Plan, Seen, doomed
from nexus_operator.plan.tuning_alerts import LOOK_AGAIN as ALERTS_LOOK
from nexus_operator.plan.tuning_alerts import NOTIFIED, notified
from nexus_operator.plan.tuning_hindrance import hindrance, notice
from nexus_operator.plan.tuning_look import look_again
from nexus_operator.plan.tuning_new_data import (
    COUNTED,
    Counting,
    counted,
    counting,
    counts_look,
    enough,
    next_count,
    worn_counts,
)
from nexus_operator.plan.tuning_recovery import (
    HINDRANCE,
    lineage_note,
    recovery,
    settled,
    without_old_requests,
)
from nexus_operator.plan.tuning_release import gate_release, left_to_person, with_stop
from nexus_operator.plan.tuning_requests import (
    answered,
    open_request,
    open_runs,
    request_id,
    unreadable,
    wished_move,
)
from nexus_operator.plan.tuning_schedule import (
    LOOK_AGAIN,
    NextRun,
    covered,
    fingerprint,
    last_start,
    next_run,
)
from nexus_operator.plan.tuning_teardown import plan_tuning_teardown
from nexus_operator.plan.tuning_triage import HELD, alert_hold, held
from nexus_operator.plan.tuning_view import TuningView, tuning_view
from nexus_operator.plan.tuning_workflows import wanted_count, wanted_workflows
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding, merge, transitions
from nexus_operator.status.failure import Failure
from nexus_operator.status.finetunejob import TuningOutlook, findings, parsed
from nexus_operator.status.tuning_challenger import challenger_status, standing
from nexus_operator.status.tuning_history import (
    Newest,
    champion_status,
    decision_status,
    last_run_status,
    newest_run,
)
from nexus_operator.status.tuning_runs import newest_first


def plan_finetunejob(job: FineTuneJob, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Decide what the cluster should hold for one FineTuneJob.  Pure: same inputs, same plan."""
    if job.deleting:
        return plan_tuning_teardown(job, seen, settings, now)
    job = without_old_requests(job)
    view = tuning_view(job, seen, now)
    hindered = hindrance(job, seen, settings)
    if hindered is None and view.strangers:
        name = view.strangers[0].name
        hindered = Failure("Waiting", f"Waiting for {name} of a former job of this name to go")
    champion = champion_status(job, (*view.runs, *view.moves))
    lost = recovery(job, view.moves, now, found=bool(champion))
    if hindered is None and lost is not None:
        hindered = HINDRANCE
    counts = counting(job, view.counts, now)
    hold = None if hindered else alert_hold(job, newest_run(job, view.runs, now), seen, now)
    newest, due = _newest(job, view, hindered, counts, now, held_until=hold.until if hold else None)
    noticed = None if hindered else notice(job, seen)
    releasing = gate_release(job, newest, view.runs, view.moves)
    wish = wished_move(job) or (lost.wish if lost else releasing.wish)
    count_at = _next_count(job, newest, hindered, counts, now)
    shown = {
        "lastRun": last_run_status(job, newest, now),
        **with_stop(decision_status(job, newest, now), job, releasing.stop),
        **champion,
    }
    decision, now_champion = parsed(shown, job)
    stands = standing(job, decision, now_champion, newest, releasing=releasing.pending)
    shown |= challenger_status(job, stands, decision, now_champion, view.runs)
    shown["answered"] = answered(job, _answers(job, view, newest))
    shown["newData"] = counts.last.manifest() if counts and counts.last else None
    alerted = notified(job, seen, settings)
    asides = {
        NOTIFIED: alerted,
        COUNTED: counted(job, counts),
        HELD: held(job, hold, newest, now),
    }
    outlook = TuningOutlook(
        newest=newest,
        next_at=due.at if due else None,
        next_cause=due.cause if due else "",
        hindrance=hindered,
        notice=noticed,
        moves=view.moves,
        unreadable="" if job.spec.promotion.pinned_version else unreadable(job),
        decision=decision,
        champion=now_champion,
        standing=stands,
        releasing=releasing.pending,
    )
    conditions = _conditions(job, outlook, asides, now)
    old = [one.manifest() for one in job.status.conditions]
    return Plan(
        status={
            "observedGeneration": job.metadata.generation,
            "conditions": conditions,
            "lineage": job.lineage,
            **shown,
        },
        annotate=lineage_note(job, has_champion=bool(shown.get("champion") or job.status.champion)),
        create=(
            *wanted_workflows(job, view, newest, hindered, wish, seen, settings),
            *wanted_count(job, newest, counts, count_at, seen, settings, now),
        ),
        apply=_cancelled(job, newest, seen),
        delete=_worn_out(job, view, newest, seen),
        notes=(hold.note(),) if hold and hold.asks else (),
        add_finalizer=FINALIZER not in job.metadata.finalizers,
        events=transitions(old, conditions),
        requeue_after=look_again(
            view,
            newest,
            due,
            hindered,
            now,
            echo=lost is not None or releasing.pending or not _end_is_told(job, newest),
            asides=(
                ALERTS_LOOK.get(alerted.reason) if alerted else None,
                counts_look(counts, count_at, now),
                LOOK_AGAIN if hold else None,
                SETTLED_LOOK if noticed else None,
            ),
        ),
    )


def _newest(
    job: FineTuneJob,
    view: TuningView,
    hindered: Failure | None,
    counts: Counting | None,
    now: datetime,
    *,
    held_until: datetime | None,
) -> tuple[Newest | None, NextRun | None]:
    """Return the newest run, which may be one that starts now, else when the next one does."""
    newest = newest_run(job, view.runs, now)
    if hindered is not None or (newest is not None and newest.busy):
        return newest, None
    last = last_start(newest)
    new_data = enough(job, counts, newest.name if newest else "")
    due = next_run(job, last, now, new_data=new_data, held_until=held_until)
    if due is None or due.at > now or not _end_is_told(job, newest):
        return newest, due
    if gate_release(job, newest, view.runs, view.moves).pending:
        return newest, None
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


def _next_count(
    job: FineTuneJob,
    newest: Newest | None,
    hindered: Failure | None,
    counts: Counting | None,
    now: datetime,
) -> datetime | None:
    """Return when new examples are counted next; never while a run is under way."""
    busy = newest is not None and newest.busy
    if hindered is not None or busy or not _end_is_told(job, newest):
        return None
    return next_count(job, counts, newest.name if newest else "", now)


def _answers(job: FineTuneJob, view: TuningView, newest: Newest | None) -> Iterator[str]:
    """Yield the requests that need no answer from now on."""
    done = newest_first((*view.runs, *(run for run in view.moves if settled(run))))
    yield from (run.request for run in reversed(done))
    if newest is not None and newest.state != "starting":
        last = last_start(newest)
        yield from (request for request in open_runs(job) if covered(request, last))
    yield left_to_person(job, newest)
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
    job: FineTuneJob, outlook: TuningOutlook, asides: Mapping[str, Finding | None], now: datetime
) -> list[Manifest]:
    old = [one.manifest() for one in job.status.conditions]
    generation = job.metadata.generation
    found = [*findings(job, outlook), *(one for one in asides.values() if one)]
    drop = frozenset(kind for kind, one in asides.items() if one is None)
    return merge(old, found, generation=generation, now=now, drop=drop)


def _worn_out(
    job: FineTuneJob, view: TuningView, newest: Newest | None, seen: Seen
) -> tuple[Doomed, ...]:
    """Return finished Workflows beyond those kept, and those that a former job left behind."""
    names = {run.name for run in view.strangers if run.what != "teardown" or not run.running}
    triggers = job.spec.triggers
    names.update(worn_counts(view.counts, wanted=bool(triggers and triggers.new_data)))
    for runs in (view.runs, view.moves):
        ended = [run.name for run in runs if not run.running]
        names.update(ended[job.spec.runs_kept :])
    if newest is not None:
        names.discard(newest.name)
    return doomed(one for one in seen.of_kind("Workflow") if name_of(one) in names)
