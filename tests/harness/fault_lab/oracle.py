"""What must never happen on the way, whatever is disturbed; read from the mirror's history."""

from collections.abc import Iterator

from fault_lab.case import Case
from fault_lab.client import Manifest
from fault_lab.kinds import BY_PLURAL
from fault_lab.mirror import Change
from fault_lab.normal import normal_names

_OVER = frozenset({"Succeeded", "Failed", "Error"})
_REVISION = "llmops.nexus/revision"
_INDEX = "llmops.nexus/index"
_OWNERS = {_INDEX: "RagIndex", "llmops.nexus/job": "FineTuneJob"}
"""Labels of Workflows, and the kind that each names."""


def deletions(case: Case) -> set[str]:
    """Return what the operator has deleted, by normal names."""
    names = normal_names(case.places, case.names)
    found = set()
    for one in case.record.exchanges:
        if one.asked.verb in {"delete", "deletecollection"} and one.changed:
            kind = BY_PLURAL[one.asked.resource].kind
            name = one.asked.name
            for old in sorted(names, key=len, reverse=True):
                name = name.replace(old, names[old])
            found.add(f"{kind} {name}")
    return found


def violations(case: Case, allowed_deletions: set[str]) -> list[str]:
    """Return one sentence for each rule that was broken."""
    history = sorted(
        (one for place in case.places for one in place.history), key=lambda one: one.version
    )
    extra = deletions(case) - allowed_deletions
    told = [f"deleted {one}, which the undisturbed run keeps" for one in sorted(extra)]
    return [
        *told,
        *_two_syncs(history),
        *_service_to_unready(history),
        *_live_deleted(case, history),
    ]


def _two_syncs(history: list[Change]) -> Iterator[str]:
    """Yield each moment in which two syncs of one index were under way."""
    running: dict[str, set[str]] = {}
    for change in history:
        if change.kind != "Workflow" or "-sync-" not in change.name:
            continue
        index = change.object["metadata"].get("labels", {}).get(_INDEX, "")
        phase = (change.object.get("status") or {}).get("phase")
        mine = running.setdefault(index, set())
        if change.type == "DELETED" or phase in _OVER:
            mine.discard(change.name)
        else:
            mine.add(change.name)
        if len(mine) > 1:
            yield f"two syncs of {index} at a time: {', '.join(sorted(mine))}"


def _service_to_unready(history: list[Change]) -> Iterator[str]:
    """Yield each time a Service was led to a revision that was not ready while another was."""
    ever = {_revision(one.object) for one in history if one.kind == "Deployment"}
    ready: dict[str, bool] = {}
    selected: dict[str, str] = {}
    for change in history:
        if change.kind == "Deployment":
            ready[_revision(change.object)] = change.type != "DELETED" and _ready(change.object)
        if change.kind != "Service" or change.type == "DELETED":
            continue
        revision = (change.object["spec"].get("selector") or {}).get(_REVISION, "")
        before, selected[change.name] = selected.get(change.name), revision
        made_up = revision not in ever  # by hand
        answers = ready.get(revision, False)
        if revision != before and not made_up and not answers and any(ready.values()):
            yield f"Service {change.name} was led to revision {revision}, which was not ready"


def _revision(deployment: Manifest) -> str:
    return str((deployment["metadata"].get("labels") or {}).get(_REVISION, ""))


def _live_deleted(case: Case, history: list[Change]) -> Iterator[str]:
    """Yield each running Workflow that the operator stopped although what it works for stayed."""
    deleted = {
        one.asked.name
        for one in case.record.exchanges
        if one.asked.verb == "delete" and one.asked.resource == "workflows" and one.changed
    }
    going: set[tuple[str, str]] = set()
    for change in history:
        metadata = change.object["metadata"]
        if metadata.get("deletionTimestamp"):
            going.add((change.kind, change.name))
        if change.kind != "Workflow" or change.type != "DELETED" or change.name not in deleted:
            continue
        phase = (change.object.get("status") or {}).get("phase")
        labels = metadata.get("labels", {})
        owners = {(kind, labels[name]) for name, kind in _OWNERS.items() if name in labels}
        if phase not in _OVER and not owners & going:
            yield f"run {change.name} was deleted while it ran"


def _ready(deployment: Manifest) -> bool:
    status = deployment.get("status") or {}
    return int(status.get("readyReplicas") or 0) >= 1
