"""Create, read, patch and delete, as every cluster does them."""

from typing import Any

import pytest

from nexus_operator.cluster.errors import AlreadyExists, Conflict, Invalid, NotFound
from nexus_operator.cluster.protocol import Cluster, Ref

OURS = "llmops.nexus/v1alpha1"


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "data": {"colour": "blue"},
    }


def rag_index(name: str = "handbook", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": OURS,
        "kind": "RagIndex",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def ref(manifest: dict[str, Any]) -> Ref:
    metadata = manifest["metadata"]
    return Ref(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])


async def test_a_pod_that_is_not_there_has_no_log(cluster: Cluster) -> None:
    with pytest.raises(NotFound):
        await cluster.log(Ref("v1", "Pod", "default", "nobody"), container="main", lines=5)


async def test_created_object_is_read_back_with_an_identity(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a"))
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    read = await cluster.get(ref(made))
    assert read is not None
    assert read["metadata"]["uid"] == made["metadata"]["uid"]
    assert read["data"] == {"colour": "blue"}


async def test_what_is_not_there_reads_as_none(cluster: Cluster) -> None:
    assert await cluster.get(Ref("v1", "ConfigMap", "default", "missing")) is None


async def test_second_create_of_a_name_already_exists(cluster: Cluster) -> None:
    await cluster.create(config_map("a"))
    with pytest.raises(AlreadyExists, match="a"):
        await cluster.create(config_map("a"))


async def test_unknown_kind_is_not_found(cluster: Cluster) -> None:
    with pytest.raises(NotFound):
        await cluster.create({**rag_index(), "kind": "RagIndeks"})
    with pytest.raises(NotFound):
        await cluster.list("v1", "Gadget")


async def test_bad_name_is_invalid(cluster: Cluster) -> None:
    with pytest.raises(Invalid, match=r"metadata\.name"):
        await cluster.create(config_map("Not_A_Name"))


async def test_list_selects_by_namespace_and_labels(cluster: Cluster) -> None:
    await cluster.create(config_map("a", labels={"team": "red", "tier": "one"}))
    await cluster.create(config_map("b", labels={"team": "blue"}))
    await cluster.create(config_map("c", labels={"team": "red"}, namespace="other"))

    async def names(**options: Any) -> set[str]:
        found = await cluster.list("v1", "ConfigMap", **options)
        return {item["metadata"]["name"] for item in found} & {"a", "b", "c"}

    assert await names() == {"a", "b", "c"}
    assert await names(namespace="default") == {"a", "b"}
    assert await names(labels={"team": "red"}) == {"a", "c"}
    assert await names(namespace="default", labels={"team": "red", "tier": "one"}) == {"a"}


async def test_merge_patch_sets_and_removes(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a", annotations={"keep": "1", "drop": "1"}))
    patch = {"metadata": {"annotations": {"drop": None}}, "data": {"size": "big"}}
    changed = await cluster.patch(ref(made), patch)
    assert changed["data"] == {"colour": "blue", "size": "big"}
    assert changed["metadata"]["annotations"] == {"keep": "1"}
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_patch_that_changes_nothing_is_no_write(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a"))
    same = await cluster.patch(ref(made), {"data": {"colour": "blue"}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_patch_of_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    with pytest.raises(NotFound):
        await cluster.patch(Ref("v1", "ConfigMap", "default", "missing"), {"data": {}})


async def test_stale_write_conflicts(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a"))
    stale = made["metadata"]["resourceVersion"]
    await cluster.patch(ref(made), {"data": {"colour": "green"}})
    patch = {"metadata": {"resourceVersion": stale}, "data": {"colour": "red"}}
    with pytest.raises(Conflict):
        await cluster.patch(ref(made), patch)
    now = await cluster.get(ref(made))
    assert now is not None
    assert now["data"] == {"colour": "green"}


async def test_fresh_write_with_its_version_goes_through(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a"))
    version = made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"colour": "red"}}
    assert (await cluster.patch(ref(made), patch))["data"] == {"colour": "red"}


async def test_deleting_twice_is_fine(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a"))
    await cluster.delete(ref(made))
    await cluster.delete(ref(made))
    assert await cluster.get(ref(made)) is None


async def test_delete_spares_another_object_of_the_same_name(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a"))
    with pytest.raises(Conflict):
        await cluster.delete(ref(made), uid="00000000-0000-0000-0000-000000000000")
    assert await cluster.get(ref(made)) is not None
    await cluster.delete(ref(made), uid=made["metadata"]["uid"])
    assert await cluster.get(ref(made)) is None


async def test_finalizer_holds_a_deleted_object_until_it_is_released(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a", finalizers=["llmops.nexus/cleanup"]))
    await cluster.delete(ref(made))
    held = await cluster.get(ref(made))
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]
    await cluster.patch(ref(made), {"metadata": {"finalizers": []}})
    assert await cluster.get(ref(made)) is None


async def test_no_finalizer_can_be_added_while_deleting(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a", finalizers=["llmops.nexus/cleanup"]))
    await cluster.delete(ref(made))
    patch = {"metadata": {"finalizers": ["llmops.nexus/cleanup", "llmops.nexus/more"]}}
    with pytest.raises(Invalid):
        await cluster.patch(ref(made), patch)


async def test_what_an_object_owns_goes_with_it(cluster: Cluster, eventually: Any) -> None:
    owner = await cluster.create(config_map("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    child = await cluster.create(config_map("child", ownerReferences=[reference]))
    bystander = await cluster.create(config_map("bystander"))
    await cluster.delete(ref(owner))

    async def child_is_gone() -> bool:
        return await cluster.get(ref(child)) is None

    await eventually(child_is_gone)
    assert await cluster.get(ref(bystander)) is not None


async def test_status_and_spec_are_written_apart(cluster: Cluster) -> None:
    made = await cluster.create({**rag_index(), "status": {"chunks": 9}})
    assert not made.get("status")
    assert made["metadata"]["generation"] == 1
    with_status = await cluster.patch(
        ref(made),
        {"status": {"chunks": 7}, "spec": {"source": {"suspend": True}}},
        subresource="status",
    )
    assert with_status["status"]["chunks"] == 7
    assert with_status["spec"]["source"].get("suspend", False) is False
    assert with_status["metadata"]["generation"] == 1
    with_spec = await cluster.patch(
        ref(made), {"status": {"chunks": 1}, "spec": {"source": {"suspend": True}}}
    )
    assert with_spec["status"]["chunks"] == 7
    assert with_spec["spec"]["source"]["suspend"] is True
    assert with_spec["metadata"]["generation"] == 2


async def test_metadata_alone_makes_no_new_generation(cluster: Cluster) -> None:
    made = await cluster.create(rag_index())
    patch = {"metadata": {"annotations": {"llmops.nexus/sync-requested-at": "1"}}}
    assert (await cluster.patch(ref(made), patch))["metadata"]["generation"] == 1


async def test_defaults_are_filled_in(cluster: Cluster) -> None:
    made = await cluster.create(rag_index())
    assert made["spec"]["chunking"]["maxTokens"] == 256
    assert made["spec"]["retrieval"]["mode"] == "hybrid"


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"chunking": {"maxToken": 200}}, "maxToken"),
        ({"chunking": {"maxTokens": 5}}, "maxTokens"),
        ({"chunking": {"maxTokens": "many"}}, "maxTokens"),
        ({"retrieval": {"mode": "tfidf"}}, "bm25"),
        ({"chunking": {"maxTokens": 64, "overlapTokens": 64}}, "overlapTokens"),
    ],
)
async def test_bad_spec_is_refused_by_name(
    cluster: Cluster, spec: dict[str, Any], names: str
) -> None:
    with pytest.raises(Invalid, match=names):
        await cluster.create(rag_index(**spec))
    made = await cluster.create(rag_index())
    with pytest.raises(Invalid, match=names):
        await cluster.patch(ref(made), {"spec": spec})
