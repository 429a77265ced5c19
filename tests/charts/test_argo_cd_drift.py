"""Argo CD's own comparison finds no drift after its own sync, and finds what somebody changed."""

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import argo_cd
import pytest
from api_server import Cluster, kubeconfig_of
from needs import program
from rendering import PLATFORM, ROOT, STACK, Manifest

from nexus_api.manifests import load_manifests

pytestmark = pytest.mark.apiserver
WAYS = ("structured", "dry-run", "three-way")
TRIGGER = "llmops.nexus/sync-requested-at"
NOTE = "example.com/note"
SWITCHED_ON: Manifest = {
    "gateway": {
        "apiKeys": {"existingSecret": "nexus-gateway-keys"},
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}]},
    },
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}
"""What is off unless asked for, and has defaults of the API server or of others' definitions."""

CHARTS = {
    "stack": ("nexus-stack", STACK, {}),
    "platform": ("llmops-nexus", PLATFORM, {}),
    "all of it": ("llmops-nexus", PLATFORM, SWITCHED_ON),
}
_PATCH = {"content-type": "application/merge-patch+json"}
_SECONDS = 120


@pytest.fixture(scope="module")
def kubeconfig(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Argo CD is run with, where it was taught our kinds by the command of the page."""
    path = tmp_path_factory.mktemp("argo-cd") / "kubeconfig"
    path.write_text(json.dumps(kubeconfig_of(cluster.control_plane, cluster.control_plane.token)))
    cluster.namespace("argocd")
    config = str(ROOT / "manifests" / "argocd" / "config")
    command = [str(program("kube")), "kubectl", "--kubeconfig", str(path), "-n", "argocd"]
    taught = [*command, "apply", "--server-side", "-k", config]
    subprocess.run(taught, check=True, capture_output=True, timeout=_SECONDS)
    return path


@pytest.fixture
def to_delete(cluster: Cluster) -> Iterator[list[Manifest]]:
    """What others would see, since it lies in no namespace or is of our kinds: removed after."""
    made: list[Manifest] = []
    yield made
    for one in made:
        if one["kind"] != "CustomResourceDefinition":
            cluster.control_plane.client.delete(cluster.one(one))


def _placed(cluster: Cluster, one: Manifest, namespace: str) -> Manifest:
    """Return an object in the namespace that Argo CD would put it into."""
    if "{namespace}" not in cluster.paths[one["apiVersion"], one["kind"]]:
        return one
    return {**one, "metadata": {"namespace": namespace, **one["metadata"]}}


def _rendered(cluster: Cluster, case: str, namespace: str) -> list[Manifest]:
    """Return what an Application has of a chart; hooks are no part of a comparison."""
    name, chart, more = CHARTS[case]
    values = {**argo_cd.applications()[name]["spec"]["source"]["helm"]["valuesObject"], **more}
    objects = [
        _placed(cluster, one, namespace)
        for one in cluster.helm.template(chart, values, namespace=namespace)
        if "helm.sh/hook" not in one["metadata"].get("annotations", {})
    ]
    assert len(objects) > 10
    return objects


def _change(cluster: Cluster, one: Manifest) -> None:
    """Change a label that was declared, as a person with kubectl does."""
    labels = one["metadata"]["labels"]
    changed = {"metadata": {"labels": {next(iter(labels)): "by-hand"}}}
    client = cluster.control_plane.client
    assert client.patch(cluster.one(one), json=changed, headers=_PATCH).is_success


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CHARTS)
def test_nothing_of_a_chart_drifts_after_a_sync(
    cluster: Cluster, kubeconfig: Path, to_delete: list[Manifest], case: str, way: str
) -> None:
    namespace = f"drift-{case.replace(' ', '-')}-{way}"
    cluster.namespace(namespace)
    application = argo_cd.application(CHARTS[case][0], namespace, way)
    objects = _rendered(cluster, case, namespace)
    to_delete += [one for one in objects if "namespace" not in one["metadata"]]
    argo_cd.sync(kubeconfig, application, objects)
    found = argo_cd.differences(kubeconfig, application, objects)
    assert len(found) == len(objects)
    assert {what: said for what, said in found.items() if said} == {}

    for one in objects:
        _change(cluster, one)
    found = argo_cd.differences(kubeconfig, application, objects)
    assert [what for what, said in found.items() if not said] == [], "a drift is seen"


@pytest.mark.parametrize("way", WAYS)
def test_no_resource_drifts_after_a_sync(
    cluster: Cluster, kubeconfig: Path, to_delete: list[Manifest], way: str
) -> None:
    rendered = cluster.helm.template(PLATFORM)
    cluster.serve([one for one in rendered if one["kind"] == "CustomResourceDefinition"])
    namespace = f"drift-resources-{way}"
    cluster.namespace(namespace)
    application = argo_cd.application("nexus-resources", namespace, way)
    samples = [
        _placed(cluster, one, namespace)
        for path in (ROOT / "manifests" / "samples").glob("*.yaml")
        for one in load_manifests(path.read_text())
    ]
    assert len(samples) >= 5
    to_delete += samples
    argo_cd.sync(kubeconfig, application, samples)
    found = argo_cd.differences(kubeconfig, application, samples)
    assert {what: said for what, said in found.items() if said} == {}


@pytest.mark.parametrize("way", WAYS)
def test_a_trigger_is_no_drift_and_a_spec_is(
    cluster: Cluster, kubeconfig: Path, to_delete: list[Manifest], way: str
) -> None:
    rendered = cluster.helm.template(PLATFORM)
    cluster.serve([one for one in rendered if one["kind"] == "CustomResourceDefinition"])
    namespace = f"drift-trigger-{way}"
    cluster.namespace(namespace)
    application = argo_cd.application("nexus-resources", namespace, way)
    declared: Manifest = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {
            "name": "handbook",
            "namespace": namespace,
            "annotations": {TRIGGER: "1", NOTE: "1"},
        },
        "spec": {"sync": {"interval": "10m"}},
    }
    to_delete.append(declared)
    argo_cd.sync(kubeconfig, application, [declared])
    changes: list[tuple[Manifest, bool]] = [
        ({"metadata": {"annotations": {TRIGGER: "2"}}}, False),
        ({"metadata": {"annotations": {"example.com/of-others": "theirs"}}}, False),
        ({"status": {"chunks": 7}}, False),
        ({"metadata": {"annotations": {NOTE: "2"}}}, True),
        ({"metadata": {"annotations": {NOTE: "1"}}}, False),
        ({"spec": {"sync": {"interval": "20m"}}}, True),
    ]
    for change, drift in changes:
        place = cluster.one(declared) + ("/status" if "status" in change else "")
        patch = cluster.control_plane.client.patch(place, json=change, headers=_PATCH)
        assert patch.is_success, patch.text
        found = argo_cd.differences(kubeconfig, application, [copy.deepcopy(declared)])
        assert bool(found["RagIndex/handbook"]) == drift, change
