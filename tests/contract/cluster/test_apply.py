"""Server-side apply: create or merge, and fields no longer sent go away."""

from typing import Any

import pytest

from nexus_operator.cluster.errors import Conflict, Invalid
from nexus_operator.cluster.protocol import Cluster, Ref

A = Ref("v1", "ConfigMap", "default", "a")


def wanted(data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default", **metadata},
        "data": data,
    }


async def test_apply_creates_then_merges(cluster: Cluster) -> None:
    first = await cluster.apply(wanted({"x": "1"}))
    second = await cluster.apply(wanted({"x": "2", "y": "1"}))
    assert second["data"] == {"x": "2", "y": "1"}
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


async def test_same_apply_again_writes_nothing(cluster: Cluster) -> None:
    first = await cluster.apply(wanted({"x": "1"}, labels={"a": "b"}))
    second = await cluster.apply(wanted({"x": "1"}, labels={"a": "b"}))
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_fields_no_longer_applied_go_away(cluster: Cluster) -> None:
    await cluster.apply(wanted({"x": "1", "y": "1"}, labels={"keep": "1", "drop": "1"}))
    after = await cluster.apply(wanted({"x": "1"}, labels={"keep": "1"}))
    assert after["data"] == {"x": "1"}
    assert after["metadata"]["labels"] == {"keep": "1"}


async def test_fields_of_others_stay(cluster: Cluster) -> None:
    await cluster.apply(wanted({"x": "1"}))
    await cluster.patch(A, {"metadata": {"annotations": {"theirs": "1"}}, "data": {"theirs": "1"}})
    after = await cluster.apply(wanted({"x": "2"}))
    assert after["data"] == {"x": "2", "theirs": "1"}
    assert after["metadata"]["annotations"] == {"theirs": "1"}


async def test_what_another_applied_too_stays_when_we_leave_it_out(cluster: Cluster) -> None:
    made = await cluster.apply(wanted({"x": "1", "y": "1"}))
    await cluster.apply(
        wanted({"y": "1"}, uid=made["metadata"]["uid"]), manager="another", force=False
    )
    assert (await cluster.apply(wanted({"x": "2"})))["data"] == {"x": "2", "y": "1"}
    with pytest.raises(Conflict):
        await cluster.apply(wanted({"x": "3"}), manager="another", force=False)
    assert (await cluster.apply(wanted({"x": "4"})))["data"]["x"] == "4"


async def test_drift_is_put_right(cluster: Cluster) -> None:
    await cluster.apply(wanted({"x": "1"}))
    await cluster.patch(A, {"data": {"x": "changed by hand"}})
    assert (await cluster.apply(wanted({"x": "1"})))["data"] == {"x": "1"}


async def test_finalizers_of_others_stay(cluster: Cluster) -> None:
    await cluster.apply(wanted({"x": "1"}))
    await cluster.patch(A, {"metadata": {"finalizers": ["example.com/theirs"]}})
    after = await cluster.apply(wanted({"x": "1"}, finalizers=["llmops.nexus/cleanup"]))
    assert set(after["metadata"]["finalizers"]) == {"example.com/theirs", "llmops.nexus/cleanup"}
    last = await cluster.apply(wanted({"x": "1"}))
    assert last["metadata"]["finalizers"] == ["example.com/theirs"]


async def test_lists_are_replaced_by_what_is_applied(cluster: Cluster) -> None:
    def service(*ports: int) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "selector": {"app": "web"},
                "ports": [{"name": f"p{port}", "port": port} for port in ports],
            },
        }

    await cluster.apply(service(80, 81))
    after = await cluster.apply(service(81))
    assert [port["port"] for port in after["spec"]["ports"]] == [81]


async def test_selectors_are_replaced_as_a_whole(cluster: Cluster) -> None:
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    await cluster.apply(service)
    await cluster.patch(
        Ref("v1", "Service", "default", "web"), {"spec": {"selector": {"by-hand": "1"}}}
    )
    after = await cluster.apply(service)
    assert after["spec"]["selector"] == {"app": "web"}
    again = await cluster.apply(service)
    assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_node_selectors_are_replaced_as_a_whole(cluster: Cluster) -> None:
    labels = {"app": "web"}

    def deployment(nodes: dict[str, str]) -> dict[str, Any]:
        pod = {"nodeSelector": nodes, "containers": [{"name": "web", "image": "example.com/web:1"}]}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    await cluster.apply(deployment({"disk": "fast"}))
    by_hand = {"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}}
    await cluster.patch(Ref("apps/v1", "Deployment", "default", "web"), by_hand)
    after = await cluster.apply(deployment({"disk": "slow"}))
    assert after["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "slow"}
    assert after["spec"]["selector"] == {"matchLabels": labels}


async def test_apply_to_an_object_by_its_uid_does_not_make_it_anew(cluster: Cluster) -> None:
    made = await cluster.apply(wanted({"x": "1"}))
    await cluster.delete(A)
    with pytest.raises(Conflict):
        await cluster.apply(wanted({"x": "2"}, uid=made["metadata"]["uid"]))
    assert await cluster.get(A) is None


@pytest.mark.parametrize("stale", [{"resourceVersion": "1"}, {"uid": "not-this-one"}])
async def test_stale_precondition_conflicts(cluster: Cluster, stale: dict[str, str]) -> None:
    await cluster.apply(wanted({"x": "1"}))
    with pytest.raises(Conflict):
        await cluster.apply(wanted({"x": "2"}, **stale))


async def test_applied_status_is_ignored_and_a_bad_spec_refused(cluster: Cluster) -> None:
    index: dict[str, Any] = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {"name": "handbook", "namespace": "default"},
        "spec": {"retrieval": {"topK": 3}},
        "status": {"chunks": 3},
    }
    made = await cluster.apply(index)
    assert not made.get("status")
    assert made["spec"]["retrieval"]["topK"] == 3
    again = await cluster.apply({**index, "spec": {}})
    assert again["spec"]["retrieval"]["topK"] == 5
    with pytest.raises(Invalid, match="topK"):
        await cluster.apply({**index, "spec": {"retrieval": {"topK": 1000}}})
