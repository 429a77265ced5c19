"""What Argo CD is told: applications that exist, health that fits our conditions."""

import subprocess
from pathlib import Path
from typing import Any

import argo_cd
import pytest
import yaml
from needs import program
from rendering import PLATFORM, ROOT, STACK, Helm, Manifest

OURS = "https://github.com/llmops-nexus/llmops-nexus"
HEALTH = argo_cd.FOLDER / "config" / "health" / "nexus.lua"
CLUSTER_WIDE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"} | {
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
_SECONDS = 60


def _project() -> Manifest:
    project, root = yaml.safe_load_all((argo_cd.FOLDER / "root.yaml").read_text())
    assert (ROOT / root["spec"]["source"]["path"]).samefile(argo_cd.FOLDER / "apps")
    spec: Manifest = project["spec"]
    return spec


def test_what_stands_on_something_comes_after_it() -> None:
    wave = {
        name: int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for name, one in argo_cd.applications().items()
    }
    assert wave["argo-workflows"] == wave["argo-events"] < wave["nexus-stack"]
    assert wave["nexus-stack"] < wave["llmops-nexus"] < wave["nexus-resources"]


@pytest.mark.parametrize("name", argo_cd.applications())
def test_an_application_lies_within_its_project(name: str) -> None:
    spec, project = argo_cd.applications()[name]["spec"], _project()
    assert spec["project"] == "llmops-nexus"
    assert spec["source"]["repoURL"] in project["sourceRepos"]
    assert spec["destination"] in project["destinations"]
    if spec["source"]["repoURL"] == OURS:
        assert (ROOT / spec["source"]["path"]).is_dir()


@pytest.mark.parametrize(("name", "chart"), [("nexus-stack", STACK), ("llmops-nexus", PLATFORM)])
def test_a_chart_rendered_without_a_cluster_is_the_same_each_time(
    helm: Helm, name: str, chart: Path
) -> None:
    source = argo_cd.applications()[name]["spec"]["source"]
    assert (ROOT / source["path"]).samefile(chart)
    values = source["helm"]["valuesObject"]
    objects = helm.template(chart, values)
    assert objects == helm.template(chart, values), "what changes at each rendering is drift"
    allowed = {one["kind"] for one in _project()["clusterResourceWhitelist"]}
    assert {one["kind"] for one in objects} & CLUSTER_WIDE <= allowed


def test_argo_cd_gets_a_health_check_for_each_kind() -> None:
    command = [str(program("kube")), "kubectl", "kustomize", str(argo_cd.FOLDER / "config")]
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
    answer = argo_cd.health(HEALTH, resource)
    assert answer["status"] == health
    assert answer["message"]


@pytest.mark.parametrize(
    ("status", "health"),
    [({}, "Progressing"), ({"status": {"health": {"status": "Healthy"}}}, "Healthy")],
)
def test_an_application_is_as_healthy_as_what_it_holds(status: Manifest, health: str) -> None:
    script = argo_cd.FOLDER / "config" / "health" / "application.lua"
    assert argo_cd.health(script, {"metadata": {}, **status})["status"] == health
