"""The newest run of a FineTuneJob as far as it is known: by its Workflow, else by the status."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_api.tuning_status import LastRun
from nexus_operator.clock import own, past
from nexus_operator.status.conditions import timestamp
from nexus_operator.status.tuning_runs import TRAIN, Move, TuningRun, number_text

STARTING = "Starting"
LOST = "Lost"
VERDICTS = frozenset({"Promote", "Reject", "Underpowered", "AskPerson"})
_WHOLE = 100
_CLOCKS_APART = timedelta(minutes=5)  # of two nodes, at most


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The newest run.

    `starting`: the status names it and its Workflow is not there yet.  `lost`: its Workflow was
    there and went away before its end.  `run` is None where only the status tells of it.
    """

    name: str
    state: Literal["starting", "running", "ended", "lost"]
    started: datetime
    cause: str
    request: str
    fingerprint: str
    run: TuningRun | None = None

    @property
    def busy(self) -> bool:
        """Whether no other run may start."""
        return self.state in {"starting", "running"}

    @property
    def trains(self) -> bool:
        """Whether its training goes on."""
        return self.run is not None and self.run.running and self.run.step == TRAIN


def newest_run(job: FineTuneJob, runs: Sequence[TuningRun], now: datetime) -> Newest | None:
    """Return the newest run; `runs` are those of this very job, newest first."""
    told = job.status.last_run
    for run in runs:
        if run.running or told is None or run.name == told.name:
            return _from_run(run, _told(job, run.name), now)
    if told is None:
        return None
    state: Literal["starting", "ended", "lost"] = "lost"
    if told.phase == STARTING:
        state = "starting"
    elif told.finished_at is not None:
        state = "ended"
    return Newest(
        name=told.name,
        state=state,
        started=past(told.started_at or now, now),
        cause=told.cause or "",
        request=told.request or "",
        fingerprint=told.fingerprint or "",
    )


def _told(job: FineTuneJob, name: str) -> LastRun | None:
    """Return what the status tells of a run, None where it tells of another."""
    told = job.status.last_run
    return told if told is not None and told.name == name else None


def _started(run: TuningRun, told: LastRun | None, now: datetime) -> datetime:
    """Return when a run started: by its Workflow, or by our clock where that one's is far ahead."""
    return own(run.created, told.started_at if told is not None else None, now)


def _from_run(run: TuningRun, told: LastRun | None, now: datetime) -> Newest:
    return Newest(
        name=run.name,
        state="running" if run.running else "ended",
        started=past(_started(run, told, now), now),
        cause=run.cause,
        request=run.request,
        fingerprint=run.parameters.get("fingerprint", ""),
        run=run,
    )


def last_run_status(job: FineTuneJob, newest: Newest | None, now: datetime) -> Manifest | None:
    """Return `status.lastRun`."""
    told = job.status.last_run
    if newest is None:
        return None
    if newest.run is None:
        if told is None or told.name != newest.name:
            told = LastRun(name=newest.name, phase=STARTING, started_at=newest.started)
            shown = told.manifest()
            about = {"cause": newest.cause, "request": newest.request}
            shown |= {key: value for key, value in about.items() if value}
            return {**shown, "fingerprint": newest.fingerprint}
        if newest.state == "lost":
            finished = timestamp(told.finished_at or now)
            return {**told.manifest(), "phase": LOST, "finishedAt": finished}
        return told.manifest()
    return _of_run(newest.run, _told(job, newest.name), now)


def _of_run(run: TuningRun, told: LastRun | None, now: datetime) -> Manifest:
    shown: dict[str, Any] = {
        "name": run.name,
        "phase": run.phase,
        "step": run.step,
        "cause": run.cause,
        "request": run.request,
        "fingerprint": run.parameters.get("fingerprint", ""),
        "startedAt": timestamp(_started(run, told, now)),
        "finishedAt": timestamp(run.finished) if run.finished else None,
        "progressPercent": _percent(run, told),
        "expectedEnd": _expected_end(run, told, now),
        "loss": number_text(run.reports.get("training", {}).get("loss"))
        or run.training.loss
        or (told.loss if told is not None else None),
    }
    return {key: value for key, value in shown.items() if value not in (None, "")}


def _percent(run: TuningRun, told: LastRun | None) -> int | None:
    """Return how far the training is; by Argo's word alone, which is a minute old, never less."""
    percent = run.training.percent
    if percent is None or run.training.told or told is None or told.progress_percent is None:
        return percent
    return max(percent, told.progress_percent)


def _expected_end(run: TuningRun, told: LastRun | None, now: datetime) -> str | None:
    """Return when the training ends by its own word, else if it goes on as it did.

    The guess is made anew with each percent.
    """
    if not run.running or run.training.ended:
        return None
    if run.training.told:
        return timestamp(run.training.end) if run.training.end is not None else None
    percent, started = _percent(run, told), run.training.started
    if told is not None and told.progress_percent == percent and told.expected_end is not None:
        return timestamp(told.expected_end)
    if not percent or started is None or now <= started:
        return None
    whole: timedelta = (now - started) * _WHOLE / percent
    return timestamp(started + whole)


def decision_status(job: FineTuneJob, newest: Newest | None, now: datetime) -> Manifest:
    """Return what the gate and the registry have said, as fields of the status.

    A field that the newest run says nothing of is left out, and so stays as it is.
    """
    if newest is None or newest.run is None:
        return {}
    reports = newest.run.reports
    shown: Manifest = {}
    version = str(reports.get("version", {}).get("version") or "")
    decision = reports.get("decision", {})
    if decision.get("verdict") in VERDICTS:
        old = job.status.last_decision
        known = old is not None and old.run == newest.name and old.decided_at is not None
        items = decision.get("items")
        told: dict[str, Any] = {
            "run": newest.name,
            "verdict": decision["verdict"],
            "reason": str(decision.get("reason") or decision["verdict"])[:64],
            "message": str(decision.get("message", ""))[:4096],
            "metric": str(decision["metric"])[:64] if decision.get("metric") else None,
            "gain": number_text(decision.get("gain")),
            "lower": number_text(decision.get("lower")),
            "items": items if isinstance(items, int) and items >= 0 else None,
            "version": version,
            "report": f"/v1/reports/finetunes/{job.metadata.name}/{newest.name}",
            "decidedAt": timestamp(old.decided_at if known and old and old.decided_at else now),
        }
        shown["lastDecision"] = {k: v for k, v in told.items() if v not in (None, "")}
    if version:
        shown["registeredVersion"] = version
        metrics = reports.get("evaluation", {}).get("metrics")
        if isinstance(metrics, dict) and (best := _metrics(metrics)):
            shown["bestMetrics"] = best
    return shown


def _metrics(metrics: dict[str, Any]) -> dict[str, str]:
    found = {
        str(name): number_text(values.get("candidate"))
        for name, values in metrics.items()
        if isinstance(values, dict)
    }
    return {name: text for name, text in found.items() if text is not None}


def champion_status(job: FineTuneJob, runs: Sequence[TuningRun]) -> Manifest:
    """Return `status.champion` and `status.previous`, nothing where no step has moved it since.

    `runs`: runs and releases of this very job.  What moved the champion last counts, and nothing
    that is older than what the status knows.
    """
    moves = [run.move for run in runs if run.move is not None]
    if not moves:
        return {}
    last = _last(moves)
    known = job.status.champion
    there = {move.run for move in moves}
    since = known.released_at if known is not None and known.run not in there else None
    if since is not None and last.at < since:
        return {}
    shown: Manifest = {"champion": _champion(last)}
    shown["previous"] = _previous(job, last, moves) if last.previous else None
    return shown


def _last(moves: Sequence[Move]) -> Move:
    """Return the move that was made last.

    The time is of the node that made it: of moves as near as two clocks may be apart the registry's
    number tells.  Not of others: a registry that was restored counts on from an old number.
    """
    newest = max(move.at for move in moves)
    near = (move for move in moves if newest - move.at <= _CLOCKS_APART)
    return max(near, key=lambda move: (move.number, move.at, move.run))


def _champion(move: Move) -> Manifest:
    told = {
        "version": move.version,
        "uri": move.uri,
        "digest": move.digest,
        "fingerprint": move.fingerprint,
    }
    shown = {key: value for key, value in told.items() if value}
    return {**shown, "releasedAt": timestamp(move.at), "run": move.run}


def _previous(job: FineTuneJob, last: Move, moves: Sequence[Move]) -> Manifest:
    """Return the version before; where its artifacts lie only an earlier move can tell."""
    status = job.status
    for known in (status.champion, status.previous):
        if known is not None and known.version == last.previous:
            told = {"version": known.version, "uri": known.uri, "digest": known.digest}
            return {key: value for key, value in told.items() if value}
    for move in moves:
        if move.version == last.previous:
            told = {"version": move.version, "uri": move.uri, "digest": move.digest}
            return {key: value for key, value in told.items() if value}
    return {"version": last.previous}
