"""A FineTuneJob on a real cluster: Argo runs every step, MLflow has the version, a model serves it.

One story, as in test_main_path: each test begins where the one before ended.  The language model
has two layers and was made here; all else is what a release has.
"""

import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually

from .site import PLATFORM, TENANT, Manifest, Site

BASE = f"{TENANT}/bases/tiny.gguf"
EXAMPLES = f"{TENANT}/examples/parts.jsonl"
GOLDEN = f"{TENANT}/golden/parts.jsonl"
MODEL = f"{TENANT}.tuning"
PARTS = (
    "pump",
    "valve",
    "filter",
    "gate",
    "seal",
    "bearing",
    "motor",
    "oil",
    "line",
    "part",
)
TIMES = ("hour", "week", "month", "interval", "note", "status", "manual", "tool")
STEPS = {"select", "validate", "train", "evaluate", "gate", "register"}
RUN_SECONDS = 900

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def examples() -> list[Manifest]:
    """Questions about parts, each with one right answer; every document is one part."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What does the {part} {number} need?"},
                {
                    "role": "assistant",
                    "content": f"check the {part} {number} each {time}",
                },
            ],
            "document": f"{part}-{time}",
        }
        for number, (part, time) in enumerate((part, time) for part in PARTS for time in TIMES)
    ]


def golden() -> list[Manifest]:
    """Other questions about the same parts."""
    return [
        {
            "id": f"{part}-{number}",
            "question": f"When does the operator open the {part} {number}?",
            "references": [f"open the {part} {number} each month"],
            "document": f"{part}-{number}",
            "language": "en",
        }
        for number, part in enumerate(PARTS, start=100)
    ]


def job(seed: int) -> Manifest:
    """The job with another seed, which makes another adapter."""
    gates = {
        "minExamples": 20,
        "maxDuplicatePercent": 100,
        "maxDroppedPercent": 90,
        "maxOtherLanguagePercent": 100,
    }
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "tuning", "namespace": TENANT},
        "spec": {
            "baseModel": {"uri": f"s3://nexus/{BASE}"},
            "data": {"files": {"prefix": f"{TENANT}/examples/"}, "gates": gates},
            "lora": {
                "r": 4,
                "alpha": 8,
                "epochs": 1,
                "batchSize": 8,
                "sequenceTokens": 128,
                "learningRate": "0.01",
                "seed": seed,
            },
            "evaluation": {
                "goldenSet": f"s3://nexus/{GOLDEN}",
                "floors": [{"metric": "f1", "min": "0"}],
                "minItems": len(PARTS),
            },
        },
    }


def serving() -> Manifest:
    """The base, with whatever the job's champion is beside it."""
    adapter = {"name": "tuned", "uri": f"models:/{MODEL}@champion"}
    model = {"uri": f"s3://nexus/{BASE}", "adapters": [adapter]}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": "technician", "namespace": TENANT},
        "spec": {"model": model, "runtime": {"contextTokens": 512}},
    }


def apply(site: Site, *manifests: Manifest) -> None:
    whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    site.kubectl("apply", "-f", "-", stdin=json.dumps(whole))


def put(site: Site, key: str, body: bytes) -> None:
    site.store().put_object("nexus", key, io.BytesIO(body), len(body))


def lines(rows: list[Manifest]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def status(site: Site) -> Manifest:
    told: Manifest = site.get("finetunejob", "tuning").get("status") or {}
    return told


def condition(site: Site, kind: str) -> Manifest:
    found = status(site).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def run_of(site: Site, version: str) -> Manifest:
    """Return the Workflow that registered this version, once it has; fails with a failed run."""

    def ended() -> Manifest:
        told = status(site)
        last = told.get("lastRun") or {}
        assert last.get("phase") not in {"Failed", "Error"}, (last, failures(site))
        if told.get("registeredVersion") != version or last.get("phase") != "Succeeded":
            return {}
        return site.get("workflow", last["name"], PLATFORM)

    return eventually(ended, what=f"version {version}", seconds=RUN_SECONDS)


def failures(site: Site) -> list[str]:
    """What the nodes of runs say that did not succeed."""
    nodes = [
        node
        for flow in site.items("workflows", "-n", PLATFORM)
        for node in (flow["status"].get("nodes") or {}).values()
    ]
    return [
        f"{node['displayName']}: {node.get('message', '')}"
        for node in nodes
        if node["phase"] in {"Failed", "Error"}
    ]


def champion(site: Site, version: str) -> Manifest:
    """Return the job's status once this version is the champion."""
    told = status(site)
    return told if (told.get("champion") or {}).get("version") == version else {}


def mlflow(site: Site, path: str, **query: str) -> Manifest:
    """Ask MLflow's REST API; it answers under the names that it was told only."""
    response = httpx.get(
        f"http://{site.address('nexus-mlflow')}/api/2.0/mlflow/{path}",
        params=query,
        headers={"host": "nexus-mlflow:5000"},
        timeout=60,
    )
    assert response.status_code == httpx.codes.OK, response.text
    found: Manifest = response.json()
    return found


def nexus(site: Site, *words: str) -> str:
    """Return what our command line prints, with the cluster's context."""
    context = site.kubectl("config", "current-context").strip()
    command = [sys.executable, "-m", "nexus_local", *words, "--context", context]
    return site.cluster.run(command, seconds=120).stdout


@dataclass(frozen=True)
class Answer:
    """What the gateway answered: true where a model did, else with the refusal as its text."""

    status: int
    text: str

    def __bool__(self) -> bool:
        return self.status == httpx.codes.OK and bool(self.text)


def answer(site: Site, model: str) -> Answer:
    """Return the answer at temperature 0."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "What does the pump 3 need?"}],
        "temperature": 0,
        "max_tokens": 24,
    }
    response = httpx.post(
        f"{site.gateway()}/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {site.key()}"},
        timeout=120,
    )
    if response.status_code != httpx.codes.OK:
        return Answer(response.status_code, response.text)
    return Answer(response.status_code, response.json()["choices"][0]["message"]["content"])


def answered(site: Site, model: str) -> Answer:
    """Return the first answer of a model that is there, or was a moment ago and comes again."""
    return eventually(lambda: answer(site, model), what=f"an answer of {model}", pause=1)


def test_a_model_answers_before_anything_was_tuned(site: Site, tmp_path: Path) -> None:
    base = tiny_gguf(tiny_model(tmp_path / "model"), tmp_path / "tiny.gguf")
    put(site, BASE, base.read_bytes())
    apply(site, access(site), serving())
    site.wait("sm/technician")
    assert answered(site, "technician")
    refused = answer(site, "technician:tuned")
    assert refused.status == httpx.codes.SERVICE_UNAVAILABLE, refused


def access(site: Site) -> Manifest:
    """What a runtime of the tenant fetches models by."""
    keys = ("NEXUS_S3_ACCESS_KEY", "NEXUS_S3_SECRET_KEY")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "nexus-models", "namespace": TENANT},
        "stringData": {
            "NEXUS_S3_ENDPOINT": f"http://nexus-minio.{PLATFORM}:9000",
            **{key: site.secret("nexus-platform", key) for key in keys},
        },
    }


def test_argo_runs_every_step_to_a_version_that_waits(site: Site) -> None:
    put(site, EXAMPLES, lines(examples()))
    put(site, GOLDEN, lines(golden()))
    began = time.monotonic()
    apply(site, job(seed=0))
    flow = run_of(site, "1")
    print(f"job applied -> version registered: {time.monotonic() - began:.0f} s")  # noqa: T201
    pods = {
        node["displayName"].partition("(")[0]
        for node in flow["status"]["nodes"].values()
        if node["type"] == "Pod" and node["phase"] == "Succeeded"
    }
    assert pods == STEPS
    told = status(site)
    assert told["lastDecision"]["verdict"] == "Promote"
    assert told["lastDecision"]["reason"] == "FloorsMet"
    assert condition(site, "AwaitingApproval")["status"] == "True"
    assert "champion" not in told


def test_mlflow_has_the_run_and_the_version(site: Site) -> None:
    found = mlflow(site, "model-versions/get", name=MODEL, version="1")["model_version"]
    assert found["source"].startswith(f"s3://nexus-models/{TENANT}/tuning/")
    run = mlflow(site, "runs/get", run_id=found["run_id"])["run"]
    assert run["info"]["status"] == "FINISHED"
    metrics = {one["key"] for one in run["data"]["metrics"]}
    assert {"train.loss", "candidate.f1"} <= metrics
    bucket, _, prefix = found["source"].removeprefix("s3://").partition("/")
    objects = site.store().list_objects(bucket, prefix=prefix.rstrip("/") + "/")
    names = {(one.object_name or "").rpartition("/")[2] for one in objects}
    assert {
        "unit.json",
        "adapter_model.safetensors",
        "adapter.gguf",
        "model-card.md",
    } <= names


def test_another_seed_makes_another_version(site: Site) -> None:
    """Before the first is released: what serves would else be the production to compare with."""
    apply(site, job(seed=1))
    run_of(site, "2")
    assert "champion" not in status(site)


def test_promoted_versions_answer_and_a_rollback_brings_the_old_answers(
    site: Site,
) -> None:
    plain = answered(site, "technician")
    nexus(site, "promote", "tuning", "--version", "1", "--by", "Ada {{x}}")
    eventually(lambda: champion(site, "1"), what="a champion", seconds=RUN_SECONDS)
    first = answered(site, "technician:tuned")
    assert first != plain

    nexus(site, "promote", "tuning", "--version", "2", "--by", "Ada")
    told = eventually(lambda: champion(site, "2"), what="another champion", seconds=RUN_SECONDS)
    assert told["previous"]["version"] == "1"
    eventually(
        lambda: (seen := answer(site, "technician:tuned")) and seen != first,
        what="the other answer",
        pause=1,
    )

    nexus(site, "rollback", "tuning", "--by", "Ada")
    eventually(lambda: champion(site, "1"), what="the version before", seconds=RUN_SECONDS)
    eventually(lambda: answer(site, "technician:tuned") == first, what="the old answer", pause=1)
    assert answered(site, "technician") == plain
    aliases = mlflow(site, "registered-models/get", name=MODEL)["registered_model"]["aliases"]
    assert {"alias": "champion", "version": "1"} in aliases
