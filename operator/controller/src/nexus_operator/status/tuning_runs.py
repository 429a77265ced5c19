"""What the Workflows of a FineTuneJob tell: its runs, and the moves of its champion."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from nexus_api.meta import Manifest
from nexus_api.training_progress import TrainingProgress
from nexus_operator.objects import annotations_of, moment, name_of, uid_of
from nexus_operator.status.failure import Failure
from nexus_operator.status.runs import (
    CAUSE,
    RUNNING,
    failure_of,
    nodes_of,
    parameters_of,
    template_of,
)

RUN_TEMPLATE = "nexus-finetune"
RELEASE_TEMPLATE = "nexus-release"
COUNT_TEMPLATE = "nexus-count"
TEARDOWN_TEMPLATE = "nexus-finetune-teardown"

TRAIN = "train"
_WHOLE = 100
_POD_PREFIX = 242  # 253 characters of a name, less a dash and ten digits
_ATTEMPT = re.compile(r"\((\d+)\)$", re.ASCII)
_PROGRESS = re.compile(r"(\d{1,18})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How far the training of a run is; `percent` is None until it starts.

    `told`: whether that is the step's own word, with its loss and end, and not only Argo's.
    """

    percent: int | None = None
    started: datetime | None = None
    ended: bool = False
    told: bool = False
    loss: str | None = None
    end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Move:
    """A champion that a step reports.

    `number`: of the registry's moves, 0 where the step of an older release does not tell it.
    """

    version: str
    previous: str
    uri: str
    digest: str
    fingerprint: str
    at: datetime
    run: str
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class TuningRun:
    """One Workflow of a job.

    Attributes:
        reports: the JSON objects that steps left, by output parameter: selection, report,
            training, evaluation, decision, version, release, newData.
        move: the champion that it made or found, if it did.
        cancelled: whether it was told to end.
    """

    name: str
    object_uid: str
    what: Literal["run", "release", "count", "teardown"]
    phase: str
    cause: str
    parameters: Mapping[str, str]
    created: datetime
    finished: datetime | None
    failure: Failure | None
    cancelled: bool
    step: str
    training: Training
    reports: Mapping[str, Mapping[str, Any]]
    move: Move | None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.phase in RUNNING

    @property
    def request(self) -> str:
        """The request that it answers, empty for none."""
        return self.parameters.get("request", "")

    @property
    def recovers(self) -> bool:
        """Whether it moves no champion and asks the registry which one it is."""
        return self.parameters.get("action") == "recover"


def read_tuning_run(
    workflow: Manifest, *, now: datetime, progress: TrainingProgress | None = None
) -> TuningRun:
    """Return what a Workflow tells; `now` stands in for an age that it does not state.

    `progress` is what its training says of itself, None when that cannot be read.
    """
    status = workflow.get("status") or {}
    phase = str(status.get("phase") or "")
    name = name_of(workflow)
    created = moment((workflow.get("metadata") or {}).get("creationTimestamp")) or now
    failed = phase not in RUNNING and phase != "Succeeded"
    pods = _pods(list(nodes_of(status)))
    reports = dict(_reports(status))
    return TuningRun(
        name=name,
        object_uid=uid_of(workflow),
        what=_WHAT.get(template_of(workflow), "run"),
        phase=phase or "Pending",
        cause=annotations_of(workflow).get(CAUSE, ""),
        parameters=parameters_of((workflow.get("spec") or {}).get("arguments")),
        created=created,
        finished=None if phase in RUNNING else moment(status.get("finishedAt")) or created,
        failure=_failure(status, pods) if failed else None,
        cancelled=bool((workflow.get("spec") or {}).get("shutdown")),
        step=_step(pods),
        training=_training([node for node in pods if _step_of(node) == TRAIN], progress),
        reports=reports,
        move=_move(status, name, now),
    )


def training_pod(workflow: Manifest) -> str | None:
    """Return the name of the pod that trains now, as Argo names it; None when none does."""
    for node in nodes_of(workflow.get("status") or {}):
        running = node.get("type") == "Pod" and node.get("phase") == "Running"
        if running and _step_of(node) == TRAIN:
            number = str(node.get("id") or "").rpartition("-")[2]
            return f"{name_of(workflow)}-{node.get('templateName') or TRAIN}"[:_POD_PREFIX] + (
                f"-{number}"
            )
    return None


def newest_first(runs: Iterable[TuningRun]) -> list[TuningRun]:
    """Return the runs by age; two of the same second stand by name, so the order is stable."""
    return sorted(runs, key=lambda run: (run.created, run.name), reverse=True)


def number_text(value: object) -> str | None:
    """Return a number of a report as decimal text, None for what is none (or not finite)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return f"{number:.6g}" if math.isfinite(number) else None


def _pods(nodes: list[Manifest]) -> list[Manifest]:
    """Return the pods by their start: steps of one second by what waited for what, then by try."""
    ranks = _ranks(nodes)

    def order(pod: Manifest) -> tuple[str, int, int, str]:
        attempt = _ATTEMPT.search(str(pod.get("displayName") or ""))
        name = str(pod.get("id"))
        number = int(attempt[1]) if attempt else 0
        return str(pod.get("startedAt") or "~"), ranks.get(name, 0), number, name

    return sorted((node for node in nodes if node.get("type") == "Pod"), key=order)


def _ranks(nodes: list[Manifest]) -> dict[str, int]:
    """Return how many nodes stand before each, by their `children`; a circle ends somewhere."""
    ranks = {str(node.get("id")): 0 for node in nodes}
    for _ in nodes:
        for node in nodes:
            after = ranks[str(node.get("id"))] + 1
            for child in node.get("children") or ():
                if ranks.get(child, after) < after:
                    ranks[child] = after
    return ranks


def _failure(status: Manifest, pods: list[Manifest]) -> Failure:
    """Return why a run failed; a try that a later one made good is not why."""
    last = {_step_of(pod): pod for pod in pods}
    failure = failure_of({**status, "nodes": dict(enumerate(last.values()))})
    if "OOMKilled" in failure.message:
        return Failure("OutOfMemory", f"{failure.message}; the profile needs more memory")
    return failure


def _reports(status: Manifest) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the output parameters that are JSON objects; the nodes of attempts repeat them."""
    for node in nodes_of(status):
        for name, text in parameters_of(node.get("outputs")).items():
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield name, value


def _move(status: Manifest, run: str, now: datetime) -> Move | None:
    for node in nodes_of(status):
        if node.get("phase") != "Succeeded" or node.get("displayName") not in _MOVING:
            continue
        report = dict(_reports({"nodes": {"only": node}})).get("release")
        if report and report.get("champion"):
            number = report.get("move")
            return Move(
                version=str(report["champion"]),
                previous=str(report.get("previous") or ""),
                uri=str(report.get("uri") or ""),
                digest=str(report.get("digest") or ""),
                fingerprint=str(report.get("fingerprint") or "")[:64],
                at=moment(node.get("finishedAt")) or now,
                run=run,
                number=number if type(number) is int else 0,
            )
    return None


_WHAT: dict[str, Literal["release", "count", "teardown"]] = {
    RELEASE_TEMPLATE: "release",
    COUNT_TEMPLATE: "count",
    TEARDOWN_TEMPLATE: "teardown",
}
_MOVING = frozenset({"release", "rollback", "recover"})


def _step_of(node: Manifest) -> str:
    return _ATTEMPT.sub("", str(node.get("displayName") or ""))


def _step(pods: list[Manifest]) -> str:
    """Return the step that runs, else the one that started last; `pods` by their start."""
    active = [node for node in pods if str(node.get("phase") or "") in RUNNING]
    return _step_of((active or pods)[-1]) if pods else ""


def _training(tries: list[Manifest], told: TrainingProgress | None) -> Training:
    """Return how far the last try is; the others were not in vain, it goes on from there."""
    if not tries:
        return Training()
    started = moment(tries[0].get("startedAt"))
    if tries[-1].get("phase") == "Succeeded":
        return Training(percent=_WHOLE, started=started, ended=True)
    ended = str(tries[-1].get("phase") or "") not in RUNNING
    if told is not None and not ended:
        loss, end = number_text(told.loss), told.end
        return Training(percent=told.percent, started=started, told=True, loss=loss, end=end)
    match = _PROGRESS.fullmatch(str(tries[-1].get("progress") or ""))
    done, total = (int(match[1]), int(match[2])) if match else (0, 1)
    percent = min(done, total) * _WHOLE // total if total else 0
    return Training(percent=percent, started=started, ended=ended)
