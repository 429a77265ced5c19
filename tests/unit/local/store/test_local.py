"""What the local store adds to the contract of all clusters."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nexus_local.store import history, requests
from nexus_local.store.labels import Selector
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.errors import Conflict, Gone, Invalid, NotFound, Unavailable
from nexus_operator.cluster.protocol import Ref

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "objects.db", clock=lambda: NOW) as cluster:
        yield cluster


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": "nexus-gateway:0.1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec},
    }


async def test_time_comes_from_the_clock(store: LocalCluster) -> None:
    made = await store.create(config_map("a"))
    assert made["metadata"]["creationTimestamp"] == "2026-01-31T12:00:00Z"
    assert made["metadata"]["namespace"] == "default"


async def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path / "objects.db") as first:
        made = await first.apply(config_map("a", labels={"x": "1"}))
    async with LocalCluster(tmp_path / "objects.db") as second:
        assert await second.get(Ref("v1", "ConfigMap", "default", "a")) == made
        # Field ownership is durable too: what is no longer applied goes.
        assert "labels" not in (await second.apply(config_map("a")))["metadata"]


async def test_watch_from_before_a_restart_is_gone(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path / "objects.db") as first:
        old = (await first.create(config_map("a")))["metadata"]["resourceVersion"]
        last = (await first.create(config_map("b")))["metadata"]["resourceVersion"]
    async with LocalCluster(tmp_path / "objects.db") as second:
        with pytest.raises(Gone):
            await anext(second.watch("v1", "ConfigMap", since=old))
        with pytest.raises(Gone):
            await anext(second.watch("v1", "ConfigMap", since="999999"))
        going_on = second.watch("v1", "ConfigMap", since=last)
        await second.create(config_map("c"))
        assert (await anext(going_on)).object["metadata"]["name"] == "c"


async def test_watcher_that_falls_behind_is_told_to_list_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalCluster(tmp_path / "objects.db") as store:
        store._history = history.History(0, kept=4)
        events = store.watch("v1", "ConfigMap", since="0")
        for number in range(20):
            await store.create(config_map(f"n{number}"))
        with pytest.raises(Gone, match="list again"):
            await anext(events)


async def test_closing_ends_watches_and_refuses_requests(tmp_path: Path) -> None:
    store = LocalCluster(tmp_path / "objects.db")
    watched = asyncio.create_task(anext(store.watch("v1", "ConfigMap", since="1"), None))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    await store.create(secret)  # the watch has begun by the time this returns
    store.close()
    store.close()
    assert await watched is None
    with pytest.raises(Unavailable):
        await store.create(config_map("a"))
    with pytest.raises(Unavailable):
        await store.list("v1", "ConfigMap")


async def test_cancelled_write_is_still_whole_and_seen(store: LocalCluster) -> None:
    events = store.watch("v1", "ConfigMap", since="1")
    write = asyncio.create_task(store.create(config_map("a")))
    blocked = asyncio.create_task(store.create(config_map("b")))
    await asyncio.sleep(0)  # both are handed to the writer
    write.cancel()
    await blocked
    names = {(await anext(events)).object["metadata"]["name"]}
    there = {item["metadata"]["name"] for item in await store.list("v1", "ConfigMap")}
    if "a" in there:
        names.add((await anext(events)).object["metadata"]["name"])
    assert names == there


async def test_object_whose_owners_are_all_gone_does_not_stay(store: LocalCluster) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}
    await store.create(config_map("late", ownerReferences=[reference]))
    assert await store.get(Ref("v1", "ConfigMap", "default", "late")) is None


async def test_object_with_another_owner_stays_and_forgets_the_lost_one(
    store: LocalCluster,
) -> None:
    owners = [await store.create(config_map(name)) for name in ("one", "two")]
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": o["metadata"]["name"], "uid": uid}
        for o in owners
        for uid in [o["metadata"]["uid"]]
    ]
    await store.create(config_map("shared", ownerReferences=references))
    await store.delete(Ref("v1", "ConfigMap", "default", "one"))
    shared = await store.get(Ref("v1", "ConfigMap", "default", "shared"))
    assert shared is not None
    assert [r["name"] for r in shared["metadata"]["ownerReferences"]] == ["two"]
    await store.delete(Ref("v1", "ConfigMap", "default", "two"))
    assert await store.get(Ref("v1", "ConfigMap", "default", "shared")) is None


async def test_collection_reaches_grandchildren_and_waits_for_finalizers(
    store: LocalCluster,
) -> None:
    def owned_by(owner: dict[str, Any], name: str, **metadata: Any) -> dict[str, Any]:
        uid = owner["metadata"]["uid"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": uid}
        return config_map(name, ownerReferences=[reference], **metadata)

    top = await store.create(config_map("top"))
    middle = await store.create(owned_by(top, "middle", finalizers=["example.com/hold"]))
    await store.create(owned_by(middle, "bottom"))
    await store.delete(Ref("v1", "ConfigMap", "default", "top"))
    names = {item["metadata"]["name"] for item in await store.list("v1", "ConfigMap")}
    assert names == {"middle", "bottom"}
    released = {"metadata": {"finalizers": None}}
    await store.patch(Ref("v1", "ConfigMap", "default", "middle"), released)
    assert await store.list("v1", "ConfigMap") == []


async def test_unforced_apply_conflicts_with_another_manager(store: LocalCluster) -> None:
    await store.apply({**config_map("a"), "data": {"x": "1", "y": "1"}})
    same = {**config_map("a"), "data": {"x": "1"}}
    await store.apply(same, manager="person", force=False)
    other = {**config_map("a"), "data": {"x": "2"}}
    with pytest.raises(Conflict, match=r"data\.x"):
        await store.apply(other, manager="person", force=False)
    forced = await store.apply(other, manager="person")
    assert forced["data"] == {"x": "2", "y": "1"}
    # It is the person's field now: the operator no longer sending it leaves it in place.
    after = await store.apply({**config_map("a"), "data": {"y": "1"}})
    assert after["data"] == {"x": "2", "y": "1"}


async def test_field_changed_by_hand_is_no_longer_removed(store: LocalCluster) -> None:
    await store.apply({**config_map("a"), "data": {"x": "1", "y": "1"}})
    await store.patch(Ref("v1", "ConfigMap", "default", "a"), {"data": {"x": "by hand"}})
    after = await store.apply({**config_map("a"), "data": {"y": "1"}})
    assert after["data"] == {"x": "by hand", "y": "1"}


async def test_generated_names(store: LocalCluster) -> None:
    manifest = {"apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "started-"}}
    names = {(await store.create(manifest))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("started-") for name in names)


async def test_old_events_make_room(store: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "EVENTS_KEPT", 3)
    for number in range(5):
        manifest = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{number}"}}
        await store.create(manifest)
    names = [item["metadata"]["name"] for item in await store.list("v1", "Event")]
    assert names == ["e2", "e3", "e4"]


async def test_events_go_after_an_hour_with_the_next_write(tmp_path: Path) -> None:
    now = NOW
    path = tmp_path / "objects.db"

    async def events(cluster: LocalCluster) -> list[str]:
        return [item["metadata"]["name"] for item in await cluster.list("v1", "Event")]

    async with LocalCluster(path, clock=lambda: now) as cluster:
        for name in ("old", "young"):
            await cluster.create({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}})
            now += timedelta(minutes=30)
        await cluster.create(config_map("a"))
        assert await events(cluster) == ["old", "young"]
        now += timedelta(minutes=1)
        before = (await cluster.list_at("v1", "Event", namespace=None, selector=Selector(())))[0]
        await cluster.apply(config_map("a"))
        assert await events(cluster) == ["old", "young"], "what writes nothing expires nothing"
        await cluster.create(config_map("b"))
        assert await events(cluster) == ["young"]
        seen = cluster.watch("v1", "Event", since=before)
        gone = await anext(seen)
        assert (gone.type, gone.object["metadata"]["name"]) == ("DELETED", "old")
        await seen.aclose()
        assert await cluster.get(Ref("v1", "ConfigMap", "default", "a"))


async def test_secret_text_is_stored_as_base64_and_never_quoted(store: LocalCluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    made = await store.create({**secret, "stringData": {"key": "püß"}})
    assert made["data"] == {"key": "cMO8w58="}
    with pytest.raises(Invalid, match="stringData") as refused:
        await store.patch(
            Ref("v1", "Secret", "default", "s"), {"data": {"key": "plain text, not base64!"}}
        )
    assert "plain text, not" not in str(refused.value)


async def test_workflow_has_no_status_subresource(store: LocalCluster) -> None:
    manifest = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {}}
    await store.create({**manifest, "metadata": {"name": "w"}, "status": {"phase": "Running"}})
    ref = Ref("argoproj.io/v1alpha1", "Workflow", "default", "w")
    with pytest.raises(NotFound, match="status"):
        await store.patch(ref, {"status": {"phase": "Failed"}}, subresource="status")
    after = await store.patch(ref, {"status": {"phase": "Failed"}})
    assert after["status"] == {"phase": "Failed"}


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (deployment(selector={}), r"spec\.selector"),
        (deployment(selector={"matchLabels": {"app": "y"}}), "does not match"),
        (deployment(replicas=-1), r"spec\.replicas"),
        (deployment(template={"metadata": {"labels": {"app": "x"}}}), "containers"),
        ({**config_map("a"), "data": {"n": 1}}, r"data\[n\]"),
        (config_map("a", labels={"bad label": "x"}), "labels"),
        (config_map("a", labels={"x": "y" * 64}), "labels"),
        (config_map("a", annotations={"x": 1}), "annotations"),
        (config_map("a", namespace="Not/One"), "namespace"),
        (config_map("a", ownerReferences=[{"uid": "u"}]), r"ownerReferences\[0\]\.apiVersion"),
        (config_map(""), "name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": None}, "metadata"),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, "apiVersion"),
        (
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}},
            r"spec\.ports",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "m"}]},
            },
            r"containers\[0\]\.image",
        ),
    ],
)
async def test_bad_object_is_refused_by_field(
    store: LocalCluster, manifest: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        await store.create(manifest)


async def test_selector_of_a_deployment_is_immutable(store: LocalCluster) -> None:
    await store.create(deployment())
    changed = deployment(selector={"matchLabels": {"app": "x", "more": "y"}})
    changed["spec"]["template"]["metadata"]["labels"] = {"app": "x", "more": "y"}
    with pytest.raises(Invalid, match="immutable"):
        await store.apply(changed)


async def test_replace_puts_a_whole_object_in_place(store: LocalCluster) -> None:
    made = await store.create({**config_map("a", labels={"x": "1"}), "data": {"x": "1"}})
    ref = Ref("v1", "ConfigMap", "default", "a")
    after = await store.replace(ref, {**config_map("a"), "data": {"y": "1"}})
    assert after["data"] == {"y": "1"}
    assert "labels" not in after["metadata"]
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(Conflict):
        await store.replace(ref, made)


async def test_what_goes_with_two_owners_at_once_is_told_once(store: LocalCluster) -> None:
    def owned(name: str, *owners: dict[str, Any]) -> dict[str, Any]:
        references = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
            for owner in owners
        ]
        return config_map(name, ownerReferences=references)

    first = await store.create(owned("a"))
    second = await store.create(owned("b", first))
    third = await store.create(owned("c", first, second))
    await store.delete(Ref("v1", "ConfigMap", "default", "a"))
    last = await store.create(config_map("z"))
    told = []
    since = third["metadata"]["resourceVersion"]
    async for event in store.watch("v1", "ConfigMap", since=since):
        if event.object["metadata"]["uid"] == last["metadata"]["uid"]:
            break
        told.append((event.type, event.object["metadata"]["name"]))
    assert told == [("DELETED", "a"), ("DELETED", "b"), ("DELETED", "c")]


async def test_a_full_disk_is_called_one_and_later_writes_go_on(store: LocalCluster) -> None:
    store._writer.execute("PRAGMA max_page_count = 20")
    big = config_map("big") | {"data": {"x": "y" * 500_000}}
    with pytest.raises(Unavailable, match="disk is full"):
        await store.create(big)
    store._writer.execute("PRAGMA max_page_count = 100000")
    assert await store.create(big)
