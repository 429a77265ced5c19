"""What a Workflow tells: how far it is, why it failed, what its last step reported."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from nexus_api.meta import GROUP, Manifest
from nexus_operator.objects import annotations_of, moment, name_of, uid_of
from nexus_operator.status.failure import Failure

ATTEMPT = f"{GROUP}/attempt"
"""Annotation of a run: 1 for a first try, counted up after each failure."""

CAUSE = f"{GROUP}/cause"
"""Annotation of a run: why it was started (`Cause`)."""

Cause = Literal["first", "changed", "requested", "interval", "retry"]

TRANSIENT_EXIT = "75"
"""Exit code by which a step says that something it needs did not answer."""

_REPORTING_STEP = "publish"
RUNNING = frozenset({"", "Pending", "Running"})
"""Phases of a Workflow that has not ended."""


@dataclass(frozen=True)
class Report:
    """What the publishing step found after its work; counts are documents."""

    total: int
    indexed: int
    failed: int
    pending: int
    chunks: int
    collection: str
    fingerprint: str


@dataclass(frozen=True)
class Run:
    """One Workflow of an index, or the teardown of a job."""

    name: str
    object_uid: str
    what: Literal["sync", "teardown"]
    state: Literal["running", "succeeded", "failed"]
    attempt: int
    cause: str
    parameters: Mapping[str, str]
    created: datetime
    finished: datetime | None
    failure: Failure | None
    report: Report | None

    @property
    def complete(self) -> bool:
        """Whether the run did all there was to do."""
        return self.state == "succeeded" and (self.report is None or self.report.pending == 0)


class ReportError(ValueError):
    """The report of a run cannot be read."""


def read_run(workflow: Manifest, *, now: datetime) -> Run:
    """Return what the Workflow tells; `now` stands in for an age that it does not state."""
    status = workflow.get("status") or {}
    phase = str(status.get("phase") or "")
    what: Literal["sync", "teardown"] = "teardown" if is_teardown(workflow) else "sync"
    report: Report | None = None
    failure: Failure | None = None
    if phase == "Succeeded" and what == "sync":
        try:
            report = read_report(workflow)
        except ReportError as problem:
            failure = Failure("BadReport", str(problem))
    elif phase not in RUNNING and phase != "Succeeded":
        failure = failure_of(status)
        if what == "sync":
            # A shard failed for good, and the rest was published all the same.
            with contextlib.suppress(ReportError):
                report = read_report(workflow)
    created = moment((workflow.get("metadata") or {}).get("creationTimestamp")) or now
    return Run(
        name=name_of(workflow),
        object_uid=uid_of(workflow),
        what=what,
        state="running" if phase in RUNNING else "failed" if failure else "succeeded",
        attempt=whole(annotations_of(workflow).get(ATTEMPT), default=1),
        cause=annotations_of(workflow).get(CAUSE, ""),
        parameters=parameters_of((workflow.get("spec") or {}).get("arguments")),
        created=created,
        finished=None if phase in RUNNING else moment(status.get("finishedAt")) or created,
        failure=failure,
        report=report,
    )


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Return the runs by age; two of the same second stand by name, so the order is stable."""
    return sorted(runs, key=lambda run: (run.created, run.name), reverse=True)


def read_report(workflow: Manifest) -> Report:
    """Return the output parameter `report` of the node `publish`; raises ReportError."""
    for node in nodes_of(workflow.get("status") or {}):
        if node.get("displayName") == _REPORTING_STEP:
            text = parameters_of(node.get("outputs")).get("report")
            if text is not None:
                return _parse_report(text)
    raise ReportError(f"its step `{_REPORTING_STEP}` left no output parameter `report`")


def _parse_report(text: str) -> Report:
    try:
        value = json.loads(text)
        documents = value["documents"]
        return Report(
            total=int(documents["total"]),
            indexed=int(documents["indexed"]),
            failed=int(documents["failed"]),
            pending=int(documents["pending"]),
            chunks=int(value["chunks"]),
            collection=str(value["collection"] or ""),
            fingerprint=str(value["fingerprint"] or ""),
        )
    except (ValueError, KeyError, TypeError) as problem:
        raise ReportError(f"its report cannot be read ({problem!r})") from problem


def failure_of(status: Manifest) -> Failure:
    """Return why a Workflow failed, by its first step that did."""
    failed = [
        node
        for node in nodes_of(status)
        if node.get("type") == "Pod" and node.get("phase") in {"Failed", "Error"}
    ]
    if not failed:
        return Failure("Failed", _sentence(status.get("message")) or "no step says why")
    first = min(failed, key=lambda node: (str(node.get("finishedAt") or "~"), str(node.get("id"))))
    transient = _exit_code(first) == TRANSIENT_EXIT
    said = _sentence(first.get("message")) or "it gave no message"
    step = first.get("displayName") or first.get("name") or "unknown"
    return Failure("DependencyUnavailable" if transient else "Failed", f"step `{step}`: {said}")


def _exit_code(node: Manifest) -> str:
    code = (node.get("outputs") or {}).get("exitCode")
    if code is not None:
        return str(code)
    return TRANSIENT_EXIT if f"exit code {TRANSIENT_EXIT}" in str(node.get("message")) else ""


def nodes_of(status: Manifest) -> Iterator[Manifest]:
    """Yield the nodes of a Workflow's status."""
    for node in (status.get("nodes") or {}).values():
        if isinstance(node, dict):
            yield node


def parameters_of(holder: Any) -> dict[str, str]:
    """Return the parameters of arguments, inputs or outputs that have a value."""
    listed = (holder or {}).get("parameters") or []
    return {str(one["name"]): str(one["value"]) for one in listed if "value" in one}


def template_of(workflow: Manifest) -> str:
    """Return the name of the template that a Workflow runs."""
    return str(((workflow.get("spec") or {}).get("workflowTemplateRef") or {}).get("name", ""))


def is_teardown(workflow: Manifest) -> bool:
    """Tell whether a Workflow removes what its resource has in the stores."""
    return template_of(workflow).endswith("teardown")


def has_ended(workflow: Manifest) -> bool:
    """Tell whether a Workflow is over."""
    return str((workflow.get("status") or {}).get("phase") or "") not in RUNNING


def whole(text: str | None, *, default: int) -> int:
    """Return the whole number that an annotation states."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else default


def _sentence(text: object) -> str:
    return str(text).strip().rstrip(".") if text else ""
