"""Watches: everything there, then every change, once and in order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from nexus_operator.cluster.protocol import Cluster, Ref, WatchEvent


def config_map(name: str, namespace: str = "watched", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


Events = AsyncGenerator[WatchEvent, None]


async def take(events: Events, count: int) -> list[tuple[str, str]]:
    """The next `count` events that are not bookmarks, as (type, name)."""
    taken: list[tuple[str, str]] = []
    async with asyncio.timeout(180):
        while len(taken) < count:
            event = await anext(events)
            if event.type != "BOOKMARK":
                taken.append((event.type, event.object["metadata"]["name"]))
    return taken


async def take_last(events: Events, count: int) -> list[tuple[str, str]]:
    """The same, after which the watch is closed."""
    async with aclosing(events):
        return await take(events, count)


async def test_watch_starts_with_what_is_there_and_goes_on(cluster: Cluster) -> None:
    await cluster.create(config_map("a"))
    await cluster.create(config_map("b"))
    events = cluster.watch("v1", "ConfigMap", namespace="watched")
    assert sorted(await take(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]
    await cluster.create(config_map("c"))
    await cluster.patch(Ref("v1", "ConfigMap", "watched", "a"), {"data": {"x": "1"}})
    await cluster.delete(Ref("v1", "ConfigMap", "watched", "b"))
    assert await take_last(events, 3) == [("ADDED", "c"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_watch_goes_on_from_a_resource_version(cluster: Cluster) -> None:
    first = await cluster.create(config_map("a"))
    await cluster.create(config_map("b"))
    since = first["metadata"]["resourceVersion"]
    events = cluster.watch("v1", "ConfigMap", namespace="watched", since=since)
    assert await take_last(events, 1) == [("ADDED", "b")]


async def test_watch_keeps_to_its_kind_and_namespace(cluster: Cluster) -> None:
    start = await cluster.create(config_map("start"))
    since = start["metadata"]["resourceVersion"]
    events = cluster.watch("v1", "ConfigMap", namespace="watched", since=since)
    await cluster.create(config_map("elsewhere", namespace="other"))
    await cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "watched"}}
    )
    await cluster.create(config_map("here"))
    assert await take_last(events, 1) == [("ADDED", "here")]


async def test_write_without_change_is_no_event(cluster: Cluster) -> None:
    made = await cluster.create(config_map("a", x="1"))
    since = made["metadata"]["resourceVersion"]
    events = cluster.watch("v1", "ConfigMap", namespace="watched", since=since)
    await cluster.patch(Ref("v1", "ConfigMap", "watched", "a"), {"data": {"x": "1"}})
    await cluster.create(config_map("b"))
    assert await take_last(events, 1) == [("ADDED", "b")]


async def test_concurrent_writes_reach_every_watcher_once(cluster: Cluster) -> None:
    watchers = [cluster.watch("v1", "ConfigMap", namespace="watched") for _ in range(3)]
    names = [f"n{number}" for number in range(20)]
    seen = [asyncio.create_task(take_last(watcher, len(names))) for watcher in watchers]
    await asyncio.gather(*(cluster.create(config_map(name)) for name in names))
    for events in await asyncio.gather(*seen):
        assert sorted(events) == sorted(("ADDED", name) for name in names)
