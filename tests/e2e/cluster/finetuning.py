"""What a user of a FineTuneJob does on the test cluster, and sees: runs, versions, answers."""

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import httpx
from waiting import eventually

from . import alerting
from .site import PLATFORM, TENANT, Manifest, Site

RUN_SECONDS = 900


def apply(site: Site, *manifests: Manifest) -> None:
    whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    site.kubectl("apply", "-f", "-", stdin=json.dumps(whole))


def annotate(site: Site, note: str) -> None:
    site.kubectl("annotate", "finetunejob/tuning", "-n", TENANT, note)


def put(site: Site, key: str, body: bytes) -> None:
    site.store().put_object("nexus", key, io.BytesIO(body), len(body))


def lines(rows: list[Manifest]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def status(site: Site, name: str = "tuning") -> Manifest:
    told: Manifest = site.get("finetunejob", name).get("status") or {}
    return told


def condition(site: Site, kind: str, name: str = "tuning") -> Manifest:
    found = status(site, name).get("conditions") or []
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


def runs_by(site: Site, template: str, job: str = "tuning") -> list[Manifest]:
    """Return the Workflows of a job by one template, the oldest first."""
    found = alerting.runs_of(site, job)
    made = [one for one in found if one["spec"]["workflowTemplateRef"]["name"] == template]
    return sorted(made, key=lambda one: str(one["metadata"]["creationTimestamp"]))


def given(flow: Manifest) -> dict[str, str]:
    """Return the parameters that a Workflow was started with."""
    parameters = flow["spec"]["arguments"]["parameters"]
    return {one["name"]: one.get("value", "") for one in parameters}


def releases(site: Site, job: str = "tuning") -> list[tuple[str, str]]:
    """Return who released which version, the first first."""
    told = [given(flow) for flow in runs_by(site, "nexus-release", job)]
    return [(one["by"].partition(" at ")[0], one["version"]) for one in told]


def pods(flow: Manifest, phase: str) -> list[Manifest]:
    """Return the nodes of a Workflow that ran as a pod and ended so, in their order."""
    nodes = flow["status"]["nodes"].values()
    found = [node for node in nodes if node["type"] == "Pod" and node["phase"] == phase]
    return sorted(found, key=lambda node: str(node["startedAt"]))


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


def mlflow(site: Site, path: str, body: Manifest | None = None, **query: str) -> Manifest:
    """Ask MLflow's REST API, by POST where there is a body; it answers under its names only."""
    response = httpx.request(
        "GET" if body is None else "POST",
        f"http://{site.address('nexus-mlflow')}/api/2.0/mlflow/{path}",
        params=query,
        json=body,
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
