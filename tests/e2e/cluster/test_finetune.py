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
from statistics import quantiles
from typing import Any

import httpx
import pytest
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually

from . import alerting
from .site import PLATFORM, TENANT, Manifest, Site
from .tuning import BASE, EXAMPLES, GOLDEN, MODEL, access, examples, golden, job, serving

STEPS = {"select", "validate", "train", "evaluate", "gate", "register"}
RUN_SECONDS = 900
PLATFORM_VALUES = alerting.VALUES
RATED_BAD = {"alertname": alerting.RATED_BAD, "tenant": TENANT, "model": "technician"}
RATINGS = ("up", *["down"] * 23)
REPEATS = 50
PROBES = [f"probe-{number:02d}" for number in range(20)]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def apply(site: Site, *manifests: Manifest) -> None:
    whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    site.kubectl("apply", "-f", "-", stdin=json.dumps(whole))


def put(site: Site, key: str, body: bytes) -> None:
    site.store().put_object("nexus", key, io.BytesIO(body), len(body))


def lines(rows: list[Manifest]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def status(site: Site, name: str = "tuning") -> Manifest:
    told: Manifest = site.get("finetunejob", name).get("status") or {}
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


def test_bad_ratings_start_one_run(site: Site, tmp_path: Path) -> None:
    """Debian's Prometheus with our rule, Debian's Alertmanager, Argo Events, the operator."""
    probes = [alerting.listening(job(seed=0), name, {"probe": name}) for name in PROBES]
    jobs = [alerting.listening(job(seed=0), "rated", RATED_BAD), *probes]
    apply(site, alerting.secret(), *jobs)
    alerting.await_listener(site, len(jobs))
    with alerting.monitoring(site, tmp_path) as monitoring:
        ratings = 'nexus_gateway_feedback_total{model="technician"}'
        series = 2 * len(monitoring.scraped)
        eventually(lambda: len(monitoring.query(ratings)) == series, what="all gateways' metrics")
        alerting.rate(site, "technician", RATINGS)
        eventually(lambda: alerting.runs_of(site, "rated"), what="a run", pause=0.5)
        (alert,) = monitoring.firing(alerting.RATED_BAD)
        told = monitoring.posted()
        eventually(lambda: monitoring.posted() >= told + 3, what="the alert told again")
    (flow,) = alerting.runs_of(site, "rated")
    assert flow["metadata"]["annotations"]["llmops.nexus/cause"] == "Alert"
    assert alerting.request_of(flow).startswith(f"run:alert:{alert['fingerprint']}:")


def test_fifty_repeats_of_an_alert_make_no_other_run(site: Site) -> None:
    (flow,) = alerting.runs_of(site, "rated")
    alerting.cancel(site, "rated")
    eventually(lambda: status(site, "rated")["lastRun"].get("finishedAt"), what="its end")
    _, _, fingerprint, began = alerting.request_of(flow).split(":", 3)
    hook = alerting.Hook(site)
    assert hook.refuses_strangers()
    for _ in range(REPEATS):
        hook.post(RATED_BAD, fingerprint=fingerprint, starts_at=began)
    # A Sensor takes one after another: once this one, which the run has answered, is through, all
    # are.
    last = {"fingerprint": "0123456789abcdef", "starts_at": "2026-01-01T00:00:00.000Z"}
    hook.post(RATED_BAD, **last)
    request = "run:alert:{fingerprint}:{starts_at}".format(**last)
    eventually(lambda: request in status(site, "rated")["answered"], what="the last alert")
    assert [one["metadata"]["name"] for one in alerting.runs_of(site, "rated")] == [
        flow["metadata"]["name"]
    ]


def test_an_alert_soon_becomes_a_workflow(site: Site) -> None:
    """The figure: from the post to Argo Events until the run is there; each job has its alert."""
    hook = alerting.Hook(site)
    seconds = []
    for name in PROBES:
        seconds.append(alerting.seconds_to_run(site, hook, name, {"probe": name}))
        alerting.cancel(site, name)
    cuts = quantiles(seconds, n=20, method="inclusive")
    print(  # noqa: T201
        f"alert posted -> Workflow created, {len(seconds)} times: p50 {cuts[9]:.2f} s, "
        f"p95 {cuts[18]:.2f} s, slowest {max(seconds):.2f} s"
    )
    assert [len(alerting.runs_of(site, name)) for name in PROBES] == [1] * len(PROBES)
