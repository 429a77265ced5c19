"""A real API server takes every object that the operator builds, and changes nothing of ours."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from argo_fields import unknown_fields
from builders_place import APPLY, BUILT, NAMESPACE, ROOT, STRICT, url

from nexus_operator.reconcile.diff import holds

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]

TEMPLATES = sorted((ROOT / "argo").glob("*.yaml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def named(*, foreign: bool) -> list[str]:
    theirs = ("argoproj", "monitoring.coreos")
    wanted = [(read(path)["apiVersion"].startswith(theirs), name) for name, path in BUILT.items()]
    return [name for from_others, name in wanted if from_others == foreign]


def applied(client: httpx.Client, one: Any) -> Any:
    """Apply an object in our namespace, without storing it; return what would be stored."""
    here = copy.deepcopy(one)
    here["metadata"]["namespace"] = NAMESPACE
    if here["kind"].startswith("Cluster"):
        del here["metadata"]["namespace"]
    answer = client.patch(url(here), content=json.dumps(here), headers=APPLY, params=STRICT)
    assert answer.is_success, answer.text
    stored = answer.json()
    assert holds(here, stored), "the server's defaults differ from what we apply"
    return stored


@pytest.mark.parametrize("name", named(foreign=False))
def test_object_is_admitted_as_it_is(restricted: httpx.Client, name: str) -> None:
    applied(restricted, read(BUILT[name]))


@pytest.mark.parametrize(
    "name", [name for name in named(foreign=False) if read(BUILT[name])["kind"] == "Deployment"]
)
def test_pod_is_admitted_under_restricted(restricted: httpx.Client, name: str) -> None:
    """A Deployment's template is only warned of; it is the pod that would be refused."""
    template = read(BUILT[name])["spec"]["template"]
    pod = {**template, "metadata": {**template["metadata"], "generateName": "runtime-"}}
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    answer = restricted.post(pods, json=pod, params={**STRICT, "force": ""})
    assert answer.status_code == 201, answer.text
    loose = copy.deepcopy(pod)
    del loose["spec"]["containers"][0]["securityContext"]
    refused = restricted.post(pods, json=loose, params={**STRICT, "force": ""})
    assert refused.status_code == 403, "the namespace is not restricted at all"


@pytest.mark.parametrize("name", named(foreign=True))
def test_object_of_a_foreign_kind_is_admitted_as_it_is(foreign: httpx.Client, name: str) -> None:
    one = read(BUILT[name])
    applied(foreign, one)
    if one["kind"] in {"EventSource", "Sensor"}:
        assert unknown_fields(one) == []
        one["spec"]["template"]["contaner"] = {}
        assert unknown_fields(one) == [".spec.template.contaner"]


@pytest.mark.parametrize("kind", ["WorkflowTemplate", "ClusterWorkflowTemplate"])
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_is_admitted_in_both_forms(foreign: httpx.Client, path: Path, kind: str) -> None:
    applied(foreign, {**read(path), "kind": kind})


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_is_bounded_in_time_number_and_rights(path: Path) -> None:
    spec = read(path)["spec"]
    # A training's own bound is in the Workflow: what spec.lora.maxHours comes to.
    longest = 24 * 3600 if path.stem == "nexus-finetune" else 6 * 3600
    assert spec["activeDeadlineSeconds"] <= longest
    assert spec["ttlStrategy"]["secondsAfterCompletion"] > 0
    assert spec["podGC"]["strategy"] == "OnWorkflowSuccess"
    assert spec["parallelism"] >= 1
    (mutex,) = spec["synchronization"]["mutexes"]
    by_resource = r"(index|job|release|count)\.\{\{workflow\.parameters\.namespace\}\}\."
    assert re.match(by_resource, mutex["name"])
    assert spec["serviceAccountName"] == "nexus-pipelines"
    assert yaml.safe_load(spec["podSpecPatch"])["enableServiceLinks"] is False


def filled_in(container: dict[str, Any]) -> dict[str, Any]:
    """Return a container with a name in place of each parameter, as Argo gives it to Kubernetes."""
    found: dict[str, Any] = json.loads(re.sub(r"\{\{[^{}]*\}\}", "given", json.dumps(container)))
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_pods_of_a_template_are_admitted_under_restricted(
    restricted: httpx.Client, path: Path
) -> None:
    spec = read(path)["spec"]
    patch = yaml.safe_load(spec["podSpecPatch"])
    steps = [one for one in spec["templates"] if "container" in one]
    assert steps
    for step in steps:
        container = {**filled_in(step["container"]), "name": "main", "image": "example.com/x:1"}
        pod = {
            "metadata": {"generateName": "step-"},
            "spec": {
                "securityContext": spec["securityContext"],
                "volumes": [*spec["volumes"], *step.get("volumes", ())],
                "enableServiceLinks": patch["enableServiceLinks"],
                # Argo adds its own containers, to which the patch gives what is asked of all.
                "initContainers": [{"image": "argoexec", **one} for one in patch["initContainers"]],
                "containers": [
                    container,
                    *({"image": "argoexec", **one} for one in patch["containers"]),
                ],
            },
        }
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        answer = restricted.post(pods, json=pod, params={**STRICT, "force": ""})
        assert answer.status_code == 201, answer.text
