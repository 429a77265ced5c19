"""What Argo CD is told: applications that exist, health that fits our conditions, no drift."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import Cluster
from needs import program
from rendering import PLATFORM, ROOT, STACK, Helm, Manifest

from nexus_api.manifests import load_manifests

FOLDER = ROOT / "manifests" / "argocd"
OURS = "https://github.com/llmops-nexus/llmops-nexus"
HEALTH = FOLDER / "config" / "health" / "nexus.lua"
CLUSTER_WIDE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"} | {
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
_SECONDS = 60


@cache
def _applications() -> dict[str, Manifest]:
    found = [yaml.safe_load(path.read_text()) for path in (FOLDER / "apps").glob("*.yaml")]
    return {one["metadata"]["name"]: one for one in found}


def _project() -> Manifest:
    project, root = yaml.safe_load_all((FOLDER / "root.yaml").read_text())
    assert (ROOT / root["spec"]["source"]["path"]).samefile(FOLDER / "apps")
    spec: Manifest = project["spec"]
    return spec


def _argocd(*arguments: str, given: object) -> Any:
    done = subprocess.run(
        [str(program("argocd")), *arguments],
        check=False,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_stands_on_something_comes_after_it() -> None:
    wave = {
        name: int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for name, one in _applications().items()
    }
    assert wave["argo-workflows"] == wave["argo-events"] < wave["nexus-stack"]
    assert wave["nexus-stack"] < wave["llmops-nexus"] < wave["nexus-resources"]


@pytest.mark.parametrize("name", _applications())
def test_an_application_lies_within_its_project(name: str) -> None:
    spec, project = _applications()[name]["spec"], _project()
    assert spec["project"] == "llmops-nexus"
    assert spec["source"]["repoURL"] in project["sourceRepos"]
    assert spec["destination"] in project["destinations"]
    if spec["source"]["repoURL"] == OURS:
        assert (ROOT / spec["source"]["path"]).is_dir()


@pytest.mark.parametrize(("name", "chart"), [("nexus-stack", STACK), ("llmops-nexus", PLATFORM)])
def test_a_chart_rendered_without_a_cluster_is_the_same_each_time(
    helm: Helm, name: str, chart: Path
) -> None:
    source = _applications()[name]["spec"]["source"]
    assert (ROOT / source["path"]).samefile(chart)
    values = source["helm"]["valuesObject"]
    objects = helm.template(chart, values)
    assert objects == helm.template(chart, values), "what changes at each rendering is drift"
    allowed = {one["kind"] for one in _project()["clusterResourceWhitelist"]}
    assert {one["kind"] for one in objects} & CLUSTER_WIDE <= allowed


def test_argo_cd_gets_a_health_check_for_each_kind() -> None:
    command = [str(program("kube")), "kubectl", "kustomize", str(FOLDER / "config")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
    config = yaml.safe_load(done.stdout)
    assert (config["metadata"]["name"], config["metadata"]["namespace"]) == ("argocd-cm", "argocd")
    for kind in ("RagIndex", "ServingModel", "FineTuneJob"):
        health = config["data"][f"resource.customizations.health.llmops.nexus_{kind}"]
        assert health == HEALTH.read_text()
        ignored = yaml.safe_load(
            config["data"][f"resource.customizations.ignoreDifferences.llmops.nexus_{kind}"]
        )
        assert all("llmops.nexus/" in path for path in ignored["jqPathExpressions"])


def _resource(*conditions: tuple[str, str, str], **metadata: Any) -> Manifest:
    return {
        "kind": "RagIndex",
        "metadata": {"name": "handbook", "generation": 2, **metadata},
        "status": {
            "conditions": [
                {"type": t, "status": s, "reason": r, "message": "said", "observedGeneration": 2}
                for t, s, r in conditions
            ]
        },
    }


@pytest.mark.parametrize(
    ("resource", "health"),
    [
        ({"kind": "RagIndex", "metadata": {"generation": 1}}, "Progressing"),
        (_resource(), "Progressing"),
        (_resource(("Ready", "True", "Searchable")), "Healthy"),
        (_resource(("Ready", "True", "Serving"), ("Degraded", "False", "Healthy")), "Healthy"),
        (
            _resource(("Degraded", "True", "SyncFailed"), ("Ready", "True", "Searchable")),
            "Degraded",
        ),
        (_resource(("Ready", "True", "Serving"), generation=3), "Progressing"),
        (_resource(("Ready", "False", "Syncing")), "Progressing"),
        (_resource(("Ready", "False", "Starting")), "Progressing"),
        (_resource(("Ready", "False", "Suspended")), "Suspended"),
        (_resource(("Ready", "True", "Suspended")), "Suspended"),
        (_resource(("Ready", "False", "ServingModelMissing")), "Progressing"),
        (_resource(("Ready", "False", "Recovering")), "Progressing"),
        (_resource(("Ready", "False", "NotOffered")), "Suspended"),
        (_resource(("Ready", "False", "ImagePullBackOff")), "Degraded"),
        (_resource(("Ready", "False", "IndexNotFound")), "Degraded"),
        (_resource(("Ready", "True", "Serving"), deletionTimestamp="2026-01-01"), "Progressing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_health_follows_the_conditions(resource: Manifest, health: str) -> None:
    answer = _argocd("health", str(HEALTH), given=resource)
    assert answer["status"] == health
    assert answer["message"]


@pytest.mark.parametrize(
    ("status", "health"),
    [({}, "Progressing"), ({"status": {"health": {"status": "Healthy"}}}, "Healthy")],
)
def test_an_application_is_as_healthy_as_what_it_holds(status: Manifest, health: str) -> None:
    script = FOLDER / "config" / "health" / "application.lua"
    assert _argocd("health", str(script), given={"metadata": {}, **status})["status"] == health


@pytest.mark.apiserver
@pytest.mark.parametrize("chart", [PLATFORM, STACK], ids=lambda path: path.name)
def test_nothing_drifts_after_a_sync(cluster: Cluster, chart: Path) -> None:
    hooks = {"Pod", "Job"}
    cluster.namespace("drift")  # where nothing is that another test left
    rendered = cluster.helm.template(chart, namespace="drift")
    objects = [one for one in rendered if one["kind"] not in hooks]
    _expect_no_drift(cluster, objects)


@pytest.mark.apiserver
def test_no_resource_drifts_after_a_sync(cluster: Cluster) -> None:
    definitions = [
        one for one in cluster.helm.template(PLATFORM) if one["kind"] == "CustomResourceDefinition"
    ]
    cluster.serve(definitions)
    samples = [
        one
        for path in (ROOT / "manifests" / "samples").glob("*.yaml")
        for one in load_manifests(path.read_text())
    ]
    assert len(samples) >= 5
    _expect_no_drift(cluster, samples)


def _expect_no_drift(cluster: Cluster, objects: list[Manifest]) -> None:
    pairs = [{"config": one, "live": cluster.stored(one)} for one in objects]
    drifted = {
        f"{one['kind']}/{one['name']}": (one["live"], one["predicted"])
        for one in _argocd("diff", given=pairs)
        if one["modified"]
    }
    assert drifted == {}
    changed = json.loads(json.dumps(pairs[0]))
    changed["live"]["metadata"].setdefault("labels", {})["app.kubernetes.io/part-of"] = "x"
    changed["config"]["metadata"].setdefault("labels", {})["app.kubernetes.io/part-of"] = "y"
    (seen,) = _argocd("diff", given=[changed])
    assert seen["modified"], "a drift would have been seen"
