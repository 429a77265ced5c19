"""The view: what watches told, what it answers, and that it never keeps what is gone."""

from collections import Counter
from typing import Any

import pytest
from fake_cluster import FakeCluster

from nexus_api.meta import API_VERSION, INDEX_LABEL, NAMESPACE_LABEL
from nexus_api.ragindex import RagIndex
from nexus_operator.build.workflow import SYNC_TEMPLATE
from nexus_operator.cluster.errors import NotFound
from nexus_operator.cluster.protocol import Ref, WatchEvent
from nexus_operator.cluster.view import View
from nexus_operator.objects import name_of
from nexus_operator.reconcile.observe import observe_ragindex
from nexus_operator.settings import Settings

WORKFLOW = ("argoproj.io/v1alpha1", "Workflow")
INDEX = Ref(API_VERSION, "RagIndex", "default", "handbook")
OWNED = {INDEX_LABEL: "handbook"}
SETTINGS = Settings(on_kubernetes=True)


class Counted(FakeCluster):
    """Counts what is read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    async def get(self, ref: Ref) -> Any:
        self.reads["get"] += 1
        return await super().get(ref)

    async def list(self, *args: Any, **kwargs: Any) -> Any:
        self.reads["list"] += 1
        return await super().list(*args, **kwargs)


def workflow(name: str, version: int = 0) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "platform", "labels": OWNED}
    if version:
        metadata["resourceVersion"] = str(version)
    return {"apiVersion": WORKFLOW[0], "kind": WORKFLOW[1], "metadata": metadata, "spec": {}}


def bookmark(version: int) -> WatchEvent:
    return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def viewed(*listed: dict[str, Any], at: int = 100) -> tuple[View, Counted]:
    cluster = Counted()
    view = View(cluster, complete=[WORKFLOW], single=[(API_VERSION, "RagIndex")])
    view.expect(*WORKFLOW, None)
    for one in listed:
        view.feed(*WORKFLOW, WatchEvent("ADDED", one))
    view.feed(*WORKFLOW, bookmark(at))
    return view, cluster


async def names(view: View) -> list[str]:
    found = await view.list(*WORKFLOW, namespace="platform", labels=OWNED)
    return [one["metadata"]["name"] for one in found]


async def test_lists_come_from_the_view_once_it_is_complete() -> None:
    cluster = Counted()
    view = View(cluster, complete=[WORKFLOW])
    view.expect(*WORKFLOW, None)
    await cluster.create(workflow("a"))
    assert not view.synced()
    assert await names(view) == ["a"]
    assert cluster.reads["list"] == 1
    view.feed(*WORKFLOW, WatchEvent("ADDED", workflow("a", 101)))
    view.feed(*WORKFLOW, bookmark(101))
    assert view.synced()
    assert await names(view) == ["a"]
    assert cluster.reads["list"] == 1


async def test_a_new_listing_finds_what_vanished_unheard() -> None:
    view, _ = viewed(workflow("a", 90), workflow("b", 91))
    view.expect(*WORKFLOW, None)
    view.feed(*WORKFLOW, WatchEvent("ADDED", workflow("b", 91)))
    gone = view.feed(*WORKFLOW, bookmark(120))
    assert [one["metadata"]["name"] for one in gone] == ["a"]
    assert await names(view) == ["b"]


async def test_what_was_written_during_a_listing_is_kept() -> None:
    view, cluster = viewed()
    view.expect(*WORKFLOW, None)
    made = await view.create(workflow("a"))
    assert int(made["metadata"]["resourceVersion"]) > 100
    assert view.feed(*WORKFLOW, bookmark(100)) == []
    assert await names(view) == ["a"]
    assert cluster.reads["list"] == 0


async def test_an_answer_that_comes_after_the_deletion_brings_nothing_back() -> None:
    view, cluster = viewed()
    made = await cluster.create(workflow("a"))
    version = int(made["metadata"]["resourceVersion"])
    view.feed(*WORKFLOW, WatchEvent("ADDED", made))
    view.feed(*WORKFLOW, WatchEvent("DELETED", workflow("a", version + 5)))
    await view.patch(Ref(*WORKFLOW, "platform", "a"), {})
    assert await names(view) == []


async def test_an_older_event_does_not_undo_a_newer_one() -> None:
    view, _ = viewed()
    newer = {**workflow("a", 205), "spec": {"suspend": True}}
    view.feed(*WORKFLOW, WatchEvent("MODIFIED", newer))
    view.feed(*WORKFLOW, WatchEvent("MODIFIED", workflow("a", 204)))
    found = await view.get(Ref(*WORKFLOW, "platform", "a"))
    assert found is not None
    assert found["spec"] == {"suspend": True}


async def test_an_older_event_brings_nothing_back_that_was_deleted() -> None:
    view, _ = viewed()
    view.feed(*WORKFLOW, WatchEvent("MODIFIED", workflow("a", 205)))
    view.feed(*WORKFLOW, WatchEvent("DELETED", workflow("a", 206)))
    view.feed(*WORKFLOW, WatchEvent("MODIFIED", workflow("a", 205)))
    assert await names(view) == []
    view.feed(*WORKFLOW, WatchEvent("ADDED", workflow("a", 207)))
    assert await names(view) == ["a"]


async def test_a_listing_of_older_news_brings_nothing_back_that_was_deleted() -> None:
    view, _ = viewed(workflow("a", 50), workflow("b", 51))
    view.feed(*WORKFLOW, WatchEvent("DELETED", workflow("a", 206)))
    view.expect(*WORKFLOW, None)
    view.feed(*WORKFLOW, WatchEvent("ADDED", workflow("a", 50)))
    view.feed(*WORKFLOW, bookmark(205))
    assert await names(view) == []
    view.feed(*WORKFLOW, WatchEvent("MODIFIED", workflow("b", 51)))  # it vanished unheard
    assert await names(view) == []


async def test_an_old_answer_to_a_read_does_not_bring_back_what_was_deleted() -> None:
    """A read that the API server answers from the past, after its watch told of the deletion."""
    view, cluster = viewed(workflow("a", 90))
    view.feed(*WORKFLOW, WatchEvent("DELETED", workflow("a", 120)))
    ref = Ref(*WORKFLOW, "platform", "a")
    cluster.objects[ref] = workflow("a", 90)
    assert await view.get(ref) is None
    cluster.objects[ref] = workflow("a", 130)
    assert await view.get(ref) == workflow("a", 130)


async def test_an_older_deletion_takes_nothing_that_was_made_since() -> None:
    view, _ = viewed()
    view.feed(*WORKFLOW, WatchEvent("DELETED", workflow("a", 206)))
    view.feed(*WORKFLOW, WatchEvent("ADDED", workflow("a", 207)))
    view.feed(*WORKFLOW, WatchEvent("DELETED", workflow("a", 206)))
    assert await names(view) == ["a"]


async def test_a_resource_that_cannot_be_patched_is_forgotten() -> None:
    view, cluster = viewed()
    index = {
        "apiVersion": API_VERSION,
        "kind": "RagIndex",
        "metadata": {"name": "handbook", "namespace": "default", "resourceVersion": "7"},
    }
    ref = Ref(API_VERSION, "RagIndex", "default", "handbook")
    view.feed(API_VERSION, "RagIndex", WatchEvent("ADDED", index))
    assert await view.get(ref) == index
    with pytest.raises(NotFound):
        await view.patch(ref, {"status": {}}, subresource="status")
    assert await view.get(ref) is None
    assert cluster.reads["get"] == 1


async def test_a_child_that_cannot_be_patched_stays_in_lists() -> None:
    view, _ = viewed(workflow("a", 90))
    with pytest.raises(NotFound):
        await view.patch(Ref(*WORKFLOW, "platform", "a"), {"spec": {}})
    assert await names(view) == ["a"]


async def test_what_is_large_and_never_read_is_not_kept() -> None:
    heavy = workflow("a", 90)
    heavy["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "x" * 1000,
        "mine": "1",
    }
    heavy["metadata"]["managedFields"] = [{"manager": "kopf", "fieldsV1": {"f:spec": {}}}]
    heavy["status"] = {"phase": "Running", "storedTemplates": {"x": "y" * 1000}}
    view, _ = viewed(heavy)
    found = await view.get(Ref(*WORKFLOW, "platform", "a"))
    assert found is not None
    assert found["metadata"]["annotations"] == {"mine": "1"}
    assert "managedFields" not in found["metadata"]
    assert found["status"] == {"phase": "Running"}


async def test_a_kind_that_is_not_installed_is_not_waited_for() -> None:
    cluster = Counted()
    view = View(cluster, complete=[WORKFLOW])
    view.expect(*WORKFLOW, None)
    view.give_up(*WORKFLOW, None)
    assert view.synced()


def index(version: int) -> dict[str, Any]:
    metadata = {"name": "handbook", "namespace": "default", "resourceVersion": str(version)}
    return {"apiVersion": API_VERSION, "kind": "RagIndex", "metadata": metadata, "spec": {}}


async def test_echoes_of_guarded_writes_and_creations_are_known() -> None:
    view, cluster = viewed()
    made = await cluster.create(
        {**index(0), "metadata": {"name": "handbook", "namespace": "default"}}
    )
    ours = (API_VERSION, "RagIndex")
    assert not view.wrote(WatchEvent("ADDED", made), *ours)
    view.feed(*ours, WatchEvent("ADDED", made))
    version = made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version, "labels": {"a": "b"}}}
    written = await view.patch(INDEX, patch)
    assert view.wrote(WatchEvent("MODIFIED", written), *ours)
    assert view.wrote(WatchEvent("MODIFIED", made), *ours)
    by_others = await cluster.patch(INDEX, {"metadata": {"labels": {"a": "c"}}})
    assert not view.wrote(WatchEvent("MODIFIED", by_others), *ours)
    assert not view.wrote(WatchEvent("DELETED", written), *ours)
    run = await view.create(workflow("a"))
    assert view.wrote(WatchEvent("ADDED", run), *WORKFLOW)
    ended = await cluster.patch(Ref(*WORKFLOW, "platform", "a"), {"status": {"phase": "Failed"}})
    assert not view.wrote(WatchEvent("MODIFIED", ended), *WORKFLOW)


async def test_answers_that_may_hold_the_changes_of_others_are_no_echoes() -> None:
    view, _ = viewed()
    applied = await view.apply(workflow("a"))
    assert not view.wrote(WatchEvent("MODIFIED", applied), *WORKFLOW)
    place = Ref(*WORKFLOW, "platform", "a")
    patched = await view.patch(place, {"spec": {"suspend": True}})
    assert not view.wrote(WatchEvent("MODIFIED", patched), *WORKFLOW)


async def test_pods_of_runs_are_the_clusters_own_answer() -> None:
    """The view knows pods of models alone: an index that goes would take their want for an end."""
    cluster, pod = FakeCluster(), ("v1", "Pod")
    labels = {**OWNED, NAMESPACE_LABEL: "default", "app.kubernetes.io/name": SYNC_TEMPLATE}
    place = {"name": "ingest", "namespace": SETTINGS.platform_namespace}
    await cluster.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**place, "labels": labels}, "spec": {}}
    )
    view = View(cluster, complete=[WORKFLOW, pod])
    for kind in (WORKFLOW, pod):
        view.expect(*kind, None)
        view.feed(*kind, bookmark(100))
    metadata = {
        "name": INDEX.name,
        "namespace": "default",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
    index = RagIndex.model_validate(
        {"metadata": metadata, "spec": {"source": {"prefix": "default/"}}}
    )
    seen = await observe_ragindex(view, index, SETTINGS)
    assert [name_of(one) for one in seen.of_kind("Pod")] == ["ingest"]
